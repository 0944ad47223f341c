import { targetFile } from '../core/target-file.js'

/** A file of the image with mode 0644, owned by root. */
export interface ImageFile {
  readonly path: string
  readonly text: string
}

/**
 * Unit that takes the machine's identity from its seed disk. A machine with a credential has no seed disk, and its boot
 * does not wait for a seed disk. `udevadm wait` has a deadline for a disk that appears late.
 */
const seedService = `[Unit]
Description=Take the identity of the machine from its seed disk
DefaultDependencies=no
After=systemd-remount-fs.service systemd-udev-trigger.service
Before=sysinit.target
ConditionPathExists=!/run/credentials/@system/tmpfiles.extra

[Service]
Type=oneshot
StandardError=journal+console
ExecStart=/bin/sh /usr/lib/hydra-ops/take-seed

[Install]
WantedBy=sysinit.target
`

const hostnameService = `[Unit]
Description=Set the host name that the machine's identity brought
# systemd reads /etc/hostname before systemd-tmpfiles writes it from the credential.
DefaultDependencies=no
After=systemd-tmpfiles-setup.service hydra-ops-seed.service
Before=sysinit.target network-pre.target systemd-networkd.service
ConditionPathExists=/etc/hostname

[Service]
Type=oneshot
ExecStart=/bin/hostname -F /etc/hostname

[Install]
WantedBy=sysinit.target
`

/** A drop-in for networkd, whose network files come with the identity. */
const networkdDropIn = `[Unit]
After=systemd-tmpfiles-setup.service hydra-ops-hostname.service
`

/**
 * The configuration of sshd. The machine's identity writes /etc/ssh/authorized_keys.d/root at every boot.
 * The file in root's home directory stays unchanged.
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
 * A serial console without a password. A user with access to this console can also read the disk, so a password would
 * protect nothing.
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

/** Returns an fstab whose root file system grows to the size of its disk or partition at each boot. */
const fstab = (device: string) => `${device} / ext4 defaults,x-systemd.growfs 0 1\n`

const partitionService = `[Unit]
Description=Grow the partition of the root file system to its disk
DefaultDependencies=no
After=systemd-remount-fs.service
Before=systemd-growfs@-.service systemd-growfs-root.service sysinit.target

[Service]
Type=oneshot
ExecStart=/bin/sh /usr/lib/hydra-ops/grow-partition

[Install]
WantedBy=sysinit.target
`

/**
 * Returns the files that select the disk drivers in the initrd. All drivers would make the initrd three times as large.
 */
export function initrdFiles(drivers: readonly string[]): readonly ImageFile[] {
  return [
    { path: '/etc/initramfs-tools/conf.d/hydra-ops', text: 'MODULES=list\n' },
    {
      path: '/usr/share/initramfs-tools/modules.d/hydra-ops',
      text: [...drivers, 'ext4', 'crc32c_generic', ''].join('\n'),
    },
  ]
}

/** hydra-ops's own files in a Debian image: the files of every image, and the files of each kind. */
export const debianFiles: Readonly<Record<'system' | 'qemu' | 'grub', readonly ImageFile[]>> = {
  system: [
    { path: '/etc/systemd/system/hydra-ops-seed.service', text: seedService },
    { path: '/usr/lib/hydra-ops/take-seed', text: targetFile('image/take-seed.sh') },
    { path: '/etc/systemd/system/hydra-ops-hostname.service', text: hostnameService },
    { path: '/etc/systemd/system/systemd-networkd.service.d/hydra-ops.conf', text: networkdDropIn },
    { path: '/etc/systemd/system/serial-getty@ttyS0.service.d/hydra-ops.conf', text: serialConsole },
    { path: '/etc/systemd/journald.conf.d/hydra-ops.conf', text: journald },
    { path: '/etc/ssh/sshd_config.d/hydra-ops.conf', text: sshd },
    { path: '/etc/hosts', text: hosts },
  ],
  // The file system fills the disk.
  qemu: [{ path: '/etc/fstab', text: fstab('/dev/vda') }],
  // The file system fills a partition; the build replaces `UUID`.
  grub: [
    { path: '/etc/fstab', text: fstab('UUID') },
    { path: '/etc/systemd/system/hydra-ops-partition.service', text: partitionService },
    { path: '/usr/lib/hydra-ops/grow-partition', text: targetFile('image/grow-partition.sh') },
  ],
}
