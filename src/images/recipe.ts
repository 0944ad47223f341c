import { createHash } from 'node:crypto'
import { bootableImage } from '../core/image.js'
import { debianFiles, type ImageFile, initrdFiles } from './debian-files.js'

/** The recipe of a Debian image. The recipe's hash covers every field. */
export interface DebianRecipe {
  /** The user's name for the image. */
  readonly name: string
  /** Debian's release: `bookworm`. */
  readonly suite: string
  readonly packages: readonly string[]
  /** Patterns of files that dpkg leaves out, now and on each upgrade. */
  readonly leftOut: readonly string[]
  /** Files that are placed before the kernel package creates its initrd. */
  readonly earlyFiles: readonly ImageFile[]
  readonly files: readonly ImageFile[]
  /** The script that `sh -euc` runs in the new system after the files are placed. */
  readonly configure: string
  readonly virtualBytes: number
  /**
   * The program that loads the kernel. QEMU loads a file from outside the disk, and GRUB loads a file from the disk.
   */
  readonly loader: 'qemu' | 'grub'
  /** The kernel parameters. The parameters for GRUB name no root file system, because the build chooses its UUID. */
  readonly cmdline: string
}

const mebibyte = 1024 * 1024

/**
 * The packages of a system that takes its identity at boot and accepts logins. `forQemu` and `forGrub` add a kernel.
 */
const basePackages = [
  'systemd-sysv',
  'dbus',
  'udev',
  'openssh-server',
  'iproute2',
  'iputils-ping',
  'ca-certificates',
  'sudo',
  'e2fsprogs',
  'procps',
  'rsync',
  'libnss-myhostname',
]

/** Housekeeping units that a guest does not need, least of all during a slow boot under emulation. */
const maskedUnits = [
  'systemd-networkd-wait-online.service',
  'systemd-pstore.service',
  'apt-daily.timer',
  'apt-daily-upgrade.timer',
  'dpkg-db-backup.timer',
  'e2scrub_all.timer',
  'fstrim.timer',
  // The kernel loads these modules on demand.
  ...['configfs', 'dm_mod', 'drm', 'efi_pstore', 'fuse', 'loop'].map(
    (module) => `modprobe@${module}.service`,
  ),
  ...['sys-kernel-config', 'sys-kernel-debug', 'sys-kernel-tracing', 'sys-fs-fuse-connections'].map(
    (name) => `${name}.mount`,
  ),
]

/**
 * Generators that search for features at each boot and each `daemon-reload`; no disk of this image has these features.
 */
const maskedGenerators = ['gpt-auto', 'hibernate-resume', 'integritysetup', 'system-update', 'veritysetup']

/** Packages for the stand-in for Hydra in the lab and the tests, whose guests cannot reach a package archive. */
const standInPackages = ['python3-psycopg2', 'python3-cryptography']

/**
 * Returns the script that configures the new system. The image has no key, machine id or host name: each machine gets
 * its own.
 */
function configureScript(disabled: readonly string[]): string {
  return [
    'systemctl --quiet enable systemd-networkd.service hydra-ops-seed.service hydra-ops-hostname.service',
    `systemctl --quiet disable ${['getty@tty1.service', 'e2scrub_reap.service', ...disabled].join(' ')}`,
    `systemctl --quiet mask ${maskedUnits.join(' ')}`,
    'mkdir -p /etc/systemd/system-generators',
    ...maskedGenerators.map(
      (name) => `ln -s /dev/null /etc/systemd/system-generators/systemd-${name}-generator`,
    ),
    ': > /etc/machine-id',
    // The package scripts have already done the work of systemd after an update (users, catalogs).
    'touch /etc/.updated /var/.updated',
    'rm -f /etc/ssh/ssh_host_* /etc/hostname /etc/resolv.conf /var/lib/dbus/machine-id',
  ].join('\n')
}

/** A root file system: the part of a recipe that does not depend on how the image boots. */
type RootFileSystem = Pick<
  DebianRecipe,
  'name' | 'suite' | 'packages' | 'files' | 'configure' | 'virtualBytes'
>

const debian12Bare: RootFileSystem = {
  name: 'debian-12-bare',
  suite: 'bookworm',
  packages: basePackages,
  files: debianFiles.system,
  configure: configureScript([]),
  virtualBytes: 3072 * mebibyte,
}

const debian12: RootFileSystem = {
  ...debian12Bare,
  name: 'debian-12',
  packages: [
    ...basePackages,
    'nix-bin',
    'nix-setup-systemd',
    'nginx-light',
    'postgresql',
    ...standInPackages,
  ],
  // nginx and PostgreSQL run only if an expression enables them; a connection to its socket starts the Nix daemon.
  configure: configureScript(['nginx.service', 'nix-daemon.service', 'postgresql.service']),
}

/**
 * Kernel parameters for both loaders. `rootfstype` saves the initrd from detecting the type of the root file system.
 */
const words = 'rootfstype=ext4 rw panic=-1 quiet loglevel=4 systemd.show_status=true'

/**
 * Prepares the file system for QEMU, which loads a kernel from outside the disk. The small cloud kernel boots fastest.
 */
function forQemu(system: RootFileSystem): DebianRecipe {
  return {
    ...system,
    packages: ['linux-image-cloud-amd64', ...system.packages],
    leftOut: [],
    earlyFiles: initrdFiles(['virtio_pci', 'virtio_blk', 'virtio_scsi', 'sd_mod']),
    files: [...system.files, ...debianFiles.qemu],
    // QEMU boots the kernel outside the disk, so an upgrade of the kernel inside would have no effect.
    configure: `${system.configure}\napt-mark -q hold linux-image-cloud-amd64 >/dev/null`,
    loader: 'qemu',
    cmdline: `console=ttyS0 root=/dev/vda ${words}`,
  }
}

/** Drivers of devices that no virtual machine has; they take 150 MiB. */
const unusedDrivers = [
  'sound',
  ...['gpu', 'iio', 'infiniband', 'media', 'staging', 'net/wireless'].map((part) => `drivers/${part}`),
]

/**
 * Prepares the file system for a machine that boots from its disk alone, as VirtualBox does. The cloud kernel lacks
 * drivers for SATA and for VirtualBox's shared folders.
 */
function forGrub(system: RootFileSystem): DebianRecipe {
  return {
    ...system,
    name: bootableImage(system.name),
    packages: ['linux-image-amd64', 'grub-pc-bin', 'fdisk', ...system.packages],
    leftOut: unusedDrivers.map((part) => `/lib/modules/*/kernel/${part}/*`),
    earlyFiles: initrdFiles(['ahci', 'virtio_pci', 'virtio_blk', 'virtio_scsi', 'sd_mod']),
    files: [...system.files, ...debianFiles.grub],
    configure: `${system.configure}\nsystemctl --quiet enable hydra-ops-partition.service`,
    loader: 'grub',
    cmdline: `console=tty0 console=ttyS0 ${words}`,
  }
}

/** The available recipes. The first deploy to a bare system installs Nix and nginx with apt. */
export const recipes: readonly DebianRecipe[] = [debian12, debian12Bare].flatMap((system) => [
  forQemu(system),
  forGrub(system),
])

/** Returns twelve hexadecimal digits that change with any part of the recipe. */
export function recipeHash(recipe: DebianRecipe): string {
  return createHash('sha256').update(JSON.stringify(recipe)).digest('hex').slice(0, 12)
}
