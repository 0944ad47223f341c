import { createHash } from 'node:crypto'
import { bootableImage } from '../core/image.js'
import { debianFiles, type ImageFile, initrdFiles } from './debian-files.js'

/** The recipe of a Debian image. Every field is part of its hash. */
export interface DebianRecipe {
  /** The user's name for the image. */
  readonly name: string
  /** Debian's release: `bookworm`. */
  readonly suite: string
  readonly packages: readonly string[]
  /** Patterns of files that dpkg leaves out, now and at each upgrade. */
  readonly leftOut: readonly string[]
  /** Files that are placed before the kernel's package makes its initrd. */
  readonly earlyFiles: readonly ImageFile[]
  readonly files: readonly ImageFile[]
  /** The script that `sh -euc` runs in the new system after the files were placed. */
  readonly configure: string
  readonly virtualBytes: number
  /** The program that loads the kernel: QEMU loads a file beside the disk, and GRUB loads a file on the disk. */
  readonly loader: 'qemu' | 'grub'
  /** The words for the kernel. GRUB's words have no root file system, whose UUID the build chooses. */
  readonly cmdline: string
}

const mebibyte = 1024 * 1024

/** The packages of a system that takes its identity at its boot and accepts logins; a kernel comes from a packaging. */
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

/** Housekeeping that a guest does not need, least of all during a boot that emulation makes slow. */
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

/** Generators that look for features which no disk of this image has, at each boot and each `daemon-reload`. */
const maskedGenerators = ['gpt-auto', 'hibernate-resume', 'integritysetup', 'system-update', 'veritysetup']

/** Packages of the stand-in for Hydra in the lab and the tests, whose guests cannot reach an archive. */
const standInPackages = ['python3-psycopg2', 'python3-cryptography']

/**
 * Returns the script that configures the new system. The image has no key, machine id or name: each machine gets its
 * own.
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
    // The packages' own scripts have done what systemd does once after an update (users, catalogs).
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
  // nginx and PostgreSQL run if an expression says so; a connection to its socket starts the Nix daemon.
  configure: configureScript(['nginx.service', 'nix-daemon.service', 'postgresql.service']),
}

/** `rootfstype` and the console save the initrd and the kernel from detecting them. */
const words = 'rootfstype=ext4 rw panic=-1 quiet loglevel=4 systemd.show_status=true'

/** Packs the file system for QEMU, which loads a kernel beside the disk: the small kernel for clouds boots fastest. */
function forQemu(system: RootFileSystem): DebianRecipe {
  return {
    ...system,
    packages: ['linux-image-cloud-amd64', ...system.packages],
    leftOut: [],
    earlyFiles: initrdFiles(['virtio_pci', 'virtio_blk', 'virtio_scsi', 'sd_mod']),
    files: [...system.files, ...debianFiles.qemu],
    // The kernel beside the disk is booted, not the kernel inside.
    configure: `${system.configure}\napt-mark -q hold linux-image-cloud-amd64 >/dev/null`,
    loader: 'qemu',
    cmdline: `console=ttyS0 root=/dev/vda ${words}`,
  }
}

/** Drivers of devices that no virtual machine has: 150 MiB. */
const unusedDrivers = [
  'sound',
  ...['gpu', 'iio', 'infiniband', 'media', 'staging', 'net/wireless'].map((part) => `drivers/${part}`),
]

/**
 * Packs the file system for a machine that boots by its disk alone, as VirtualBox does. The kernel for clouds has no
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

/** The existing recipes, by the name that users know. Apt installs Nix and nginx on a bare system at its first deploy. */
export const recipes: readonly DebianRecipe[] = [debian12, debian12Bare].flatMap((system) => [
  forQemu(system),
  forGrub(system),
])

/** Returns twelve hexadecimal digits that change with any part of the recipe. */
export function recipeHash(recipe: DebianRecipe): string {
  return createHash('sha256').update(JSON.stringify(recipe)).digest('hex').slice(0, 12)
}
