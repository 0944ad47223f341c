/** A file of the image with mode 0644, owned by root. */
export interface ImageFile {
  readonly path: string
  readonly text: string
}

const hostnameService = `[Unit]
Description=Set the host name that the machine's identity brought
# systemd reads /etc/hostname before systemd-tmpfiles writes it from the credential.
DefaultDependencies=no
After=systemd-tmpfiles-setup.service
Before=sysinit.target network-pre.target systemd-networkd.service
ConditionPathExists=/etc/hostname

[Service]
Type=oneshot
ExecStart=/bin/hostname -F /etc/hostname

[Install]
WantedBy=sysinit.target
`

/** A drop-in for networkd, whose network files come from the same credential. */
const networkdDropIn = `[Unit]
After=systemd-tmpfiles-setup.service hydra-ops-hostname.service
`

/**
 * The configuration of sshd. The machine's identity writes /etc/ssh/authorized_keys.d/root at every boot; root's own
 * file stays root's.
 */
const sshd = `PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/authorized_keys.d/%u
UseDNS no
`

const journald = `[Journal]
Storage=persistent
SystemMaxUse=64M
`

/**
 * A serial console without a password: a user with this console can also read the disk, so a password protects nothing.
 */
const serialConsole = `[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200,57600,38400,9600 - $TERM
`

const hosts = `127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
`

/** The file system grows to its disk at each boot. */
const fstab = '/dev/vda / ext4 defaults,x-systemd.growfs 0 1\n'

/** The drivers of QEMU's disks instead of all drivers: a third of the size. */
const initrdModules = `virtio_pci
virtio_blk
virtio_scsi
sd_mod
ext4
crc32c_generic
`

/** Our own files in a Debian image. */
export const debianFiles: {
  readonly early: readonly ImageFile[]
  readonly system: readonly ImageFile[]
} = {
  early: [
    { path: '/etc/initramfs-tools/conf.d/hydra-ops', text: 'MODULES=list\n' },
    { path: '/usr/share/initramfs-tools/modules.d/hydra-ops', text: initrdModules },
  ],
  system: [
    { path: '/etc/systemd/system/hydra-ops-hostname.service', text: hostnameService },
    { path: '/etc/systemd/system/systemd-networkd.service.d/hydra-ops.conf', text: networkdDropIn },
    { path: '/etc/systemd/system/serial-getty@ttyS0.service.d/hydra-ops.conf', text: serialConsole },
    { path: '/etc/systemd/journald.conf.d/hydra-ops.conf', text: journald },
    { path: '/etc/ssh/sshd_config.d/hydra-ops.conf', text: sshd },
    { path: '/etc/hosts', text: hosts },
    { path: '/etc/fstab', text: fstab },
  ],
}
