import { createHash } from 'node:crypto'
import { debianFiles, type ImageFile } from './debian-files.js'

/** How a Debian image is made. Everything in it is part of its hash. */
export interface DebianRecipe {
  /** What the user calls it. */
  readonly name: string
  /** Debian's release: `bookworm`. */
  readonly suite: string
  readonly packages: readonly string[]
  /** Put in place before the kernel's package makes its initrd. */
  readonly earlyFiles: readonly ImageFile[]
  readonly files: readonly ImageFile[]
  /** Runs in the new system, by `sh -euc`, after the files were put in place. */
  readonly configure: string
  readonly virtualBytes: number
  readonly cmdline: string
}

const mebibyte = 1024 * 1024

/** A system that boots, takes its identity from a credential, and can be logged in to. */
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

/** Housekeeping that a guest does not need, least of all during its boot, which emulation makes slow. */
const maskedUnits = [
  'systemd-networkd-wait-online.service',
  'systemd-pstore.service',
  'apt-daily.timer',
  'apt-daily-upgrade.timer',
  'dpkg-db-backup.timer',
  'e2scrub_all.timer',
  'fstrim.timer',
  // The kernel loads these by itself when somebody wants them.
  ...['configfs', 'dm_mod', 'drm', 'efi_pstore', 'fuse', 'loop'].map(
    (module) => `modprobe@${module}.service`,
  ),
  ...['sys-kernel-config', 'sys-kernel-debug', 'sys-kernel-tracing', 'sys-fs-fuse-connections'].map(
    (name) => `${name}.mount`,
  ),
]

/** They look for what no disk of this image has, at each boot and at each `daemon-reload`. */
const maskedGenerators = ['gpt-auto', 'hibernate-resume', 'integritysetup', 'system-update', 'veritysetup']

/** Of what the lab and the tests have instead of a Hydra: their guests have no way to an archive. */
const standInPackages = ['python3-psycopg2', 'python3-cryptography']

/** No key, no machine id, no name: each machine gets its own. The kernel that boots is the one beside the disk. */
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
    // What systemd does once after an update (users, catalogs) was done by the packages' own scripts.
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
  // `rootfstype` and the console are what the initrd and the kernel would have to find out by themselves.
  cmdline:
    'console=ttyS0 root=/dev/vda rootfstype=ext4 rw panic=-1 quiet loglevel=4 systemd.show_status=true',
}

/** The recipes that there are, by the name that users know. */
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
    // nginx and PostgreSQL run where an expression says so; the Nix daemon when somebody calls at its socket.
    configure: configureScript(['nginx.service', 'nix-daemon.service', 'postgresql.service']),
  },
  /** Neither Nix nor nginx: they come by apt, at the first deploy. */
  debian12Bare,
]

/** Twelve hexadecimal digits that change with anything in the recipe. */
export function recipeHash(recipe: DebianRecipe): string {
  return createHash('sha256').update(JSON.stringify(recipe)).digest('hex').slice(0, 12)
}
