import { createHash } from 'node:crypto'
import { debianFiles, type ImageFile } from './debian-files.js'

/** The recipe of a Debian image. Every field is part of its hash. */
export interface DebianRecipe {
  /** The user's name for the image. */
  readonly name: string
  /** Debian's release: `bookworm`. */
  readonly suite: string
  readonly packages: readonly string[]
  /** Files that are placed before the kernel's package makes its initrd. */
  readonly earlyFiles: readonly ImageFile[]
  readonly files: readonly ImageFile[]
  /** The script that `sh -euc` runs in the new system after the files were placed. */
  readonly configure: string
  readonly virtualBytes: number
  readonly cmdline: string
}

const mebibyte = 1024 * 1024

/** The packages of a system that boots, takes its identity from a credential, and accepts logins. */
const basePackages = [
  'linux-image-cloud-amd64',
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
 * own. The kernel beside the disk is booted, not the kernel inside.
 */
function configureScript(disabled: readonly string[]): string {
  return [
    'systemctl --quiet enable systemd-networkd.service hydra-ops-hostname.service',
    `systemctl --quiet disable ${['getty@tty1.service', 'e2scrub_reap.service', ...disabled].join(' ')}`,
    `systemctl --quiet mask ${maskedUnits.join(' ')}`,
    'mkdir -p /etc/systemd/system-generators',
    ...maskedGenerators.map(
      (name) => `ln -s /dev/null /etc/systemd/system-generators/systemd-${name}-generator`,
    ),
    'apt-mark -q hold linux-image-cloud-amd64 >/dev/null',
    ': > /etc/machine-id',
    // The packages' own scripts have done what systemd does once after an update (users, catalogs).
    'touch /etc/.updated /var/.updated',
    'rm -f /etc/ssh/ssh_host_* /etc/hostname /etc/resolv.conf /var/lib/dbus/machine-id',
  ].join('\n')
}

const debian12Bare: DebianRecipe = {
  name: 'debian-12-bare',
  suite: 'bookworm',
  packages: basePackages,
  earlyFiles: debianFiles.early,
  files: debianFiles.system,
  configure: configureScript([]),
  virtualBytes: 3072 * mebibyte,
  // `rootfstype` and the console save the initrd and the kernel from detecting them.
  cmdline:
    'console=ttyS0 root=/dev/vda rootfstype=ext4 rw panic=-1 quiet loglevel=4 systemd.show_status=true',
}

/** The existing recipes, by the name that users know. */
export const recipes: readonly DebianRecipe[] = [
  {
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
  },
  /** A recipe with neither Nix nor nginx: apt installs them at the first deploy. */
  debian12Bare,
]

/** Returns twelve hexadecimal digits that change with any part of the recipe. */
export function recipeHash(recipe: DebianRecipe): string {
  return createHash('sha256').update(JSON.stringify(recipe)).digest('hex').slice(0, 12)
}
