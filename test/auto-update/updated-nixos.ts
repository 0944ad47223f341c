import { join, resolve } from 'node:path'
import { updateResultFile } from '../../src/core/machine-places.js'
import { nixString } from '../../src/core/nix-string.js'
import type { CommandResult } from '../../src/core/ssh.js'
import { freePort } from '../fixtures/free-port.js'
import { type MadeSystem, systemFiles } from '../fixtures/nixos-system/nixos-system.js'
import { RootNamespace } from '../fixtures/root-namespace.js'
import { fixtureNixpkgs } from '../nix/real-nix.js'
import { bootPrograms, systemctl, systemdRun } from './nixos-systemd.js'
import type { Builds } from './updated-machine.js'

/** Programs in a system's `sw/bin`, besides the stand-ins. */
const programs =
  'bash sh cat cmp cp cut date echo env find grep head kill ln ls mkdir mv nix-env nix-store pkill readlink rm rmdir sed sleep sort sync tail test timeout touch tr wc setsid'.split(
    ' ',
  )

/** Description of a NixOS system for a test. */
export interface UpdatedSystem extends MadeSystem {
  /** Health checks of the system's automatic update; undefined for a system without an automatic update. */
  readonly checks?: unknown
  /** Whether the system's automatic update may reboot the machine. */
  readonly reboots?: boolean
}

/** Builds a stand-in for a NixOS system. */
export async function buildSystem(
  { scratch }: Builds,
  name: string,
  made: UpdatedSystem = {},
): Promise<string> {
  const {
    kernel = '',
    initrd = '',
    'kernel-modules': modules = '',
    systemd = '',
    ...files
  } = systemFiles(made)
  const parts = { kernel, initrd, 'kernel-modules': modules, systemd }
  const own =
    made.checks === undefined
      ? {}
      : {
          'etc/hydra-ops/auto-update.json': JSON.stringify({
            healthChecks: made.checks,
            allowReboot: made.reboots ?? false,
          }),
        }
  const script = [
    'PATH=/usr/bin:/bin; set -e',
    ...Object.entries({ ...files, ...own }).map(
      ([file, text]) =>
        `mkdir -p "$(dirname "$out/${file}")"; echo ${Buffer.from(text).toString('base64')} | base64 -d > "$out/${file}"`,
    ),
    'chmod +x $out/bin/switch-to-configuration $out/init; mkdir -p $out/sw/bin',
    `for each in ${programs.join(' ')}; do ln -s /usr/bin/$each $out/sw/bin/$each; done`,
    'for part in $parts; do ln -s "${part#*=}" "$out/${part%%=*}"; done',
    'for each in systemctl systemd-run findmnt grub-editenv; do ln -s /run/test/stand-ins/$each $out/sw/bin/$each; done',
  ]
  // Parts with the same text have the same store path, as in nixpkgs.
  const links = Object.entries(parts).map(
    ([part, text]) => `"${part}=${'$'}{part "${part}" ${nixString(text)}}"`,
  )
  const drv = await scratch.instantiate(`let
    part = name: text: derivation {
      inherit name text; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo \\"$text\\" > $out" ];
    };
  in derivation {
    name = "nixos-system-${name}"; system = builtins.currentSystem; builder = "/bin/sh";
    args = [ "-c" ${nixString(script.join('\n'))} ];
    parts = [ ${links.join(' ')} ];
  }`)
  return (await scratch.nix('nix-store', ['--realise', drv])).trim()
}

/** Programs of this host that stand for each package of nixpkgs. */
const packages: Readonly<Record<string, string>> = {
  bash: 'bash sh',
  coreutils: '$(of coreutils)',
  curl: 'curl',
  findutils: 'find xargs',
  gnugrep: 'grep egrep fgrep',
  gnused: 'sed',
  'nix-store': 'nix-store nix-env nix',
  openssh: 'ssh ssh-keygen ssh-keyscan',
  systemd: 'systemctl systemd-run',
  'util-linux': '$(of util-linux)',
}

/** Files that nix/modules/auto-update.nix adds to a machine. */
export interface ModuleFiles {
  readonly program: string
  /** Names of the packages on the PATH of its service. */
  readonly path: readonly string[]
  readonly configuration: Record<string, unknown>
}

/** Evaluates the module with a stand-in for nixpkgs, and builds the files that its service names. */
export async function moduleFiles({ scratch }: Builds): Promise<ModuleFiles> {
  const module = resolve('nix/nixos-module.nix')
  const copy =
    'PATH=/usr/bin:/bin; set -- $exec; /bin/mkdir $out; cp $2 $out/program; cp $3 $out/configuration; echo "$path" > $out/path'
  const drv = await scratch.instantiate(`let
    evaluated = import ${fixtureNixpkgs}/nixos/lib/eval-config.nix { modules = [ ${module} {
      boot.loader.grub.device = "/dev/vda"; fileSystems."/".device = "/dev/vda1";
      networking.hostName = "web";
      deployment = {
        uuid = "${owner}";
        autoUpdate = { enable = true; url = "http://127.0.0.1:1/"; project = "infra"; jobset = "main"; };
      };
    } ]; };
  in derivation {
    name = "files"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" ${nixString(copy)} ];
    path = map (each: each.name) evaluated.config.systemd.services.hydra-ops-auto-update.path;
    exec = evaluated.config.systemd.services.hydra-ops-auto-update.serviceConfig.ExecStart;
  }`)
  const made = (await scratch.nix('nix-store', ['--realise', drv])).trim()
  const { readFileSync } = await import('node:fs')
  const read = (name: string) => readFileSync(join(scratch.real(made), name), 'utf8')
  const path = read('path').trim().split(' ')
  return { program: read('program'), path, configuration: JSON.parse(read('configuration')) }
}

export const owner = '11111111-2222-3333-4444-555555555555'
const ownNix = 'env -u NIX_CONFIG -u NIX_REMOTE'
const setBootDefault = `${ownNix} nix-env -p /nix/var/nix/profiles/system --set "$1" && "$1/bin/switch-to-configuration" boot > /dev/null`
const program = '/run/test/program.pl'
const programFolder = '/run/test/programs'
const configuration = '/run/test/configuration.json'

/**
 * A NixOS machine made of namespaces, with its own store and a real sshd. The machine runs the program of the module.
 */
export class UpdatedNixos {
  readonly namespace: RootNamespace
  private readonly files: ModuleFiles
  private readonly port: number

  private constructor(namespace: RootNamespace, files: ModuleFiles, port: number) {
    this.namespace = namespace
    this.files = files
    this.port = port
  }

  static async start(builds: Builds): Promise<UpdatedNixos> {
    const files = await moduleFiles(builds)
    const namespace = await RootNamespace.start({ systemctl, 'systemd-run': systemdRun, ...bootPrograms })
    const machine = new UpdatedNixos(namespace, files, await freePort())
    await namespace.sh(`mkdir -p /run/systemd/system /run/test /run/sshd /etc/nix /boot /nix/var/nix/profiles
stand_ins=$(command -v systemctl)
ln -s "\${stand_ins%/*}" /run/test/stand-ins
cp /proc/sys/kernel/random/boot_id /run/test/boot_id
mount --bind /run/test/boot_id /proc/sys/kernel/random/boot_id
echo init=/somewhere/init > /run/test/cmdline
mount --bind /run/test/cmdline /proc/cmdline
mkdir -p /sys/dev/block/254:1
for each in a b; do ssh-keygen -q -t ed25519 -N '' -f /run/test/host-$each; done
mkdir -p /etc/ssh/authorized_keys.d`)
    await machine.write(program, files.program)
    await machine.linkPrograms(files.path)
    await machine.write(
      '/etc/nix/nix.conf',
      `substituters = ${builds.cache}\ntrusted-public-keys = ${builds.publicKey()}\nbuild-users-group =\nsandbox = false\n`,
    )
    return machine
  }

  /** Creates the PATH of the service with exactly the programs of its packages. */
  private async linkPrograms(names: readonly string[]): Promise<void> {
    const wanted = names.map((name) => packages[name] ?? name).join(' ')
    await this.namespace.sh(
      `of() { dpkg -L "$1" | sed -n 's,^\\(/usr\\)*/bin/,,p'; }
mkdir -p "$1" && cd "$1"
for each in ${wanted}; do
  for folder in /run/test/stand-ins /usr/bin /bin; do [ ! -x "$folder/$each" ] || { ln -s "$folder/$each" "$each"; break; }; done
done`,
      programFolder,
    )
  }

  /** Makes each of the next three runs of ssh-keyscan append a line to /run/test/proof. */
  async noteKeyScans(): Promise<void> {
    const note = 'echo scan >> /run/test/proof; [ "$(grep -c . /run/test/proof)" -lt 3 ] || back'
    await this.replaceProgram('ssh-keyscan', `${note}\nexec /usr/bin/ssh-keyscan "$@"`)
  }

  /**
   * Replaces a program of the service with a script. The function `back` of the script restores the
   * program.
   */
  private async replaceProgram(name: string, script: string): Promise<void> {
    const place = `${programFolder}/${name}`
    await this.namespace.sh('rm -f -- "$1"', place)
    await this.write(place, `#!/bin/sh\nback() { ln -sfT /usr/bin/${name} ${place}; }\n${script}\n`)
    await this.namespace.sh('chmod 755 "$1"', place)
  }

  async write(path: string, text: string): Promise<void> {
    await this.namespace.sh('mkdir -p "${1%/*}" && printf %s "$2" > "$1"', path, text)
  }

  /** Removes all traces of earlier updates, and starts sshd with the first host key. */
  async reset(): Promise<void> {
    await this.namespace.sh(
      `for each in /run/units/*.pid; do [ ! -e "$each" ] || kill -KILL -- "-$(cat "$each")" 2> /dev/null || true; done
rm -rf /var/lib/hydra-ops /run/hydra-ops /run/units /run/services /run/systemd/system /run/test/proof /run/test/reboots /etc/systemd/system.control /var/log/hydra-ops /var/log/stand-in-switches /boot/grub
rm -rf /nix/var/nix/profiles/* /nix/var/nix/gcroots/hydra-ops
mkdir -p /run/systemd/system
echo init=/somewhere/init > /run/test/cmdline
echo 'ssh-ed25519 AAAAC3operator alice' > /etc/ssh/authorized_keys.d/root`,
    )
    await this.sshd('a')
  }

  /** Restarts sshd with a host key. A system under test uses the same script. */
  async sshd(key: 'a' | 'b'): Promise<void> {
    await this.write('/run/test/sshd', sshdScript(this.port))
    await this.namespace.sh('sh /run/test/sshd "$1"', key)
  }

  /** Makes a system of the cache the running system, deployed at this time (seconds since 1970). */
  async deploy(path: string, at: number, kept = true): Promise<void> {
    await this.namespace.sh(`${ownNix} nix-store --realise "$1" > /dev/null`, path)
    if (kept) {
      await this.namespace.sh(
        `${setBootDefault}
touch -h -d "@$2" /nix/var/nix/profiles/system; ln -sfnT "$1" /run/booted-system`,
        path,
        String(at),
      )
    }
    await this.namespace.sh('ln -sfnT "$1" /run/current-system', path)
  }

  /**
   * Boots the machine as GRUB does: from the one-time entry, which GRUB then removes, or from the first
   * entry.
   */
  async boot(): Promise<void> {
    await this.namespace.sh(`rm -rf /run/units /run/services /run/hydra-ops /run/test/reboots
cat /proc/sys/kernel/random/uuid > /run/test/boot_id
menu=/boot/grub/grub.cfg environment=/boot/grub/grubenv
once=$(sed -n 's/^next_entry=\\(.*\\)>0$/\\1/p' $environment 2> /dev/null || true)
[ ! -e $environment ] || sed -i 's/^next_entry=.*/next_entry=/' $environment
if [ -n "$once" ]; then line=$(sed -n "/^submenu \\"$once\\"/,/^}/p" $menu | grep init= | head -n 1)
else line=$(grep init= $menu | head -n 1); fi
echo "BOOT_IMAGE=/vmlinuz $(printf %s "$line" | sed 's/.* init=/init=/')" > /run/test/cmdline
system=$(printf %s "$line" | sed 's,.* init=\\(/nix/store/[^ ]*\\)/init.*,\\1,')
for each in current booted; do ln -sfnT "$system" /run/$each-system; done`)
  }

  /** Makes a system of the cache the boot default, as `deploy --boot` does. */
  async bootNext(path: string): Promise<void> {
    await this.namespace.sh(`${ownNix} nix-store --realise "$1" > /dev/null\n${setBootDefault}`, path)
  }

  /**
   * Sets another boot default and runs a script while the next update fetches, as an operator's deploy may
   * do.
   */
  async whileFetching(path: string, script: string): Promise<void> {
    await this.namespace.sh(`${ownNix} nix-store --realise "$1" > /dev/null`, path)
    await this.replaceProgram(
      'nix-store',
      `back\n/usr/bin/nix-store "$@" || exit\nset -- ${path}\n{ ${setBootDefault}; ${script}; } > /dev/null`,
    )
  }

  /** Boots the machine into the boot default, without any earlier unit. */
  async reboot(): Promise<void> {
    await this.namespace.sh(`for each in /run/units/*.pid; do [ ! -e "$each" ] || kill -KILL -- "-$(cat "$each")" 2> /dev/null || true; done
rm -rf /run/units /run/services /run/hydra-ops
cat /proc/sys/kernel/random/uuid > /run/test/boot_id
for each in current booted; do ln -sfnT "$(readlink -e /nix/var/nix/profiles/system)" /run/$each-system; done`)
  }

  /** Facts of the ssh server, for the configuration of the program. */
  get ssh() {
    return { ...Object(this.files.configuration.ssh), listens: [{ address: '127.0.0.1', port: this.port }] }
  }

  /** Runs the program as the timer does. */
  async run(
    url: string,
    changes: Record<string, unknown> = {},
    flags: readonly string[] = [],
    environment: readonly string[] = [],
  ) {
    const { times } = this.files.configuration
    const settings = {
      ...this.files.configuration,
      url,
      times: { ...Object(times), watch: 0, watchLonger: 0, sample: 0, pause: 0, attempt: 20 },
      ssh: { ...this.ssh, seconds: 1, pause: 1 },
      ...changes,
    }
    await this.write(configuration, JSON.stringify(settings))
    return this.start(flags, environment)
  }

  async start(
    flags: readonly string[],
    environment: readonly string[],
  ): Promise<CommandResult & { readonly said: string }> {
    const { signal } = new AbortController()
    const argv = [
      ...ownNix.split(' '),
      `PATH=${programFolder}`,
      ...environment,
      '/usr/bin/perl',
      program,
      configuration,
      ...flags,
    ]
    const ended = await this.namespace.host.exec(argv, { signal, timeoutMs: 300_000, what: 'update' })
    return { ...ended, said: ended.stdout.trimEnd().split('\n').at(-1) ?? '' }
  }

  /** Returns the running system, the system of the next boot, and the system of the profile. */
  async runs(): Promise<{ running: string; bootDefault: string; profile: string }> {
    const [running = '', profile = '', bootDefault = ''] = (
      await this.namespace.sh(`readlink -e /run/current-system; readlink -e /nix/var/nix/profiles/system
sed -n 's,.*init=\\(/nix/store/[^ ]*\\)/init.*,\\1,p' /boot/grub/grub.cfg | head -n 1`)
    ).split('\n')
    return { running, bootDefault, profile }
  }

  /** Lists the runs of switch-to-configuration since the last reset: system and action. */
  async switches(): Promise<string[]> {
    const text = await this.namespace.sh('cat /var/log/stand-in-switches 2> /dev/null; true')
    return text.split('\n').map((line) => line.replace(/^\S*-nixos-system-/, ''))
  }

  async result(): Promise<unknown> {
    return JSON.parse(await this.namespace.sh('cat "$1"', updateResultFile))
  }

  /** Waits until no guard runs. A guard ends a moment after the file with its result appears. */
  async guardsEnded(): Promise<void> {
    await this.namespace.sh(`left=600
while ls /run/units/hydra-ops-guard-*.service > /dev/null 2>&1 && [ "$left" -gt 0 ]; do left=$((left - 1)); sleep 0.1; done`)
  }

  /** Lists the remaining files and units that a run must not leave behind. */
  async leftovers(): Promise<string> {
    await this.guardsEnded()
    return this.namespace.sh(`ls -d /run/hydra-ops/set-up-by /run/units/* /var/lib/hydra-ops/auto-update/attempt.json \\
  /var/lib/hydra-ops/auto-update/*.new /var/lib/hydra-ops/activations/*/armed \\
  /var/lib/hydra-ops/boot-once /etc/systemd/system.control/* /nix/var/nix/profiles/system-profiles/* /nix/var/nix/gcroots/hydra-ops/new-* \\
  /nix/var/nix/gcroots/hydra-ops/old-* 2> /dev/null; true`)
  }

  dispose(): Promise<void> {
    return this.namespace.dispose()
  }
}

/**
 * Returns a script that restarts sshd with host key $1, or stops sshd for any other word. The script waits for
 * the port, which sshd binds only after its start has succeeded.
 */
const sshdScript = (port: number) => `PATH=/usr/sbin:/usr/bin:/bin
[ "$(cat /run/test/sshd.key 2> /dev/null)" != "$1" ] || exit 0
echo "$1" > /run/test/sshd.key
answers() { ssh-keyscan -T 1 -p ${port} 127.0.0.1 2> /dev/null | grep -q ssh-; }
[ ! -e /run/test/sshd.pid ] || kill "$(cat /run/test/sshd.pid)" 2> /dev/null
while answers; do sleep 0.1; done
[ -e "/run/test/host-$1" ] || exit 0
printf '%s\\n' 'Port ${port}' 'ListenAddress 127.0.0.1' "HostKey /run/test/host-$1" 'PidFile /run/test/sshd.pid' 'UsePAM no' 'MaxStartups 100' > /run/test/sshd_config
/usr/sbin/sshd -f /run/test/sshd_config
left=100
until answers; do
  left=$((left - 1))
  [ "$left" -gt 0 ] || exit 1
  sleep 0.1
done`
