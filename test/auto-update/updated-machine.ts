import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { autoUpdateOf } from '../../src/core/auto-update-options.js'
import { updateResultFile } from '../../src/core/machine-places.js'
import { nixString } from '../../src/core/nix-string.js'
import type { CommandResult } from '../../src/core/ssh.js'
import { debianConfiguration, updateServices } from '../../src/setup/auto-update.js'
import { debianMachine } from '../fakes/debian-machine.js'
import { ScratchNix } from '../fakes/scratch-nix.js'
import { RootNamespace } from '../fixtures/root-namespace.js'

const profileExpression = resolve('nix/debian-profile.nix')

/** Wanted content of a closure. */
export interface WantedClosure {
  /** Text of /etc/version, which distinguishes the closures. */
  readonly version: string
  readonly apt?: readonly string[]
  /** Text of the activation program. */
  readonly activate?: string
}

/** Builder of closures, with a binary cache and signing keys. */
export class Builds {
  readonly scratch = new ScratchNix()
  readonly key = join(this.scratch.folder, 'key')
  readonly stranger = join(this.scratch.folder, 'stranger')
  readonly cache = `file://${join(this.scratch.folder, 'cache')}`

  async start(): Promise<void> {
    for (const [name, file] of [
      ['cache.example.org-1', this.key],
      ['stranger.example.org-1', this.stranger],
    ] as const)
      await this.scratch.nix('nix-store', ['--generate-binary-cache-key', name, file, `${file}.pub`])
  }

  async build({ version, apt = [], activate }: WantedClosure): Promise<string> {
    const program =
      activate === undefined
        ? 'null'
        : `derivation { name = "activate"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" ${nixString(
            `/bin/mkdir -p $out/bin; printf '%s\\n' "$text" > $out/bin/activate; /bin/chmod +x $out/bin/activate`,
          )} ]; text = ${nixString(`#!/bin/sh\n${activate}`)}; }`
    const drv = await this.scratch.instantiate(`import ${profileExpression} {
      name = "web"; files."/etc/version".text = ${nixString(`${version}\n`)};
      aptPackages = [ ${apt.map(nixString).join(' ')} ]; activate = ${program};
    }`)
    return (await this.scratch.nix('nix-store', ['--realise', drv])).trim()
  }

  /** Puts a closure into the cache, signed with this key. */
  async publish(path: string, key = this.key): Promise<string> {
    await this.copyTo(`${this.cache}?secret-key=${key}`, path)
    return path
  }

  async publishUnsigned(path: string): Promise<void> {
    await this.copyTo(this.cache, path)
  }

  private async copyTo(url: string, path: string): Promise<void> {
    await this.scratch.nix('nix', ['copy', '--extra-experimental-features', 'nix-command', '--to', url, path])
  }

  publicKey(): string {
    return readFileSync(`${this.key}.pub`, 'utf8').trim()
  }

  dispose(): void {
    this.scratch.dispose()
  }
}

/** A machine made of namespaces with its own store, which runs the program of the automatic update. */
export class UpdatedMachine {
  readonly namespace: RootNamespace
  private readonly builds: Builds

  private constructor(namespace: RootNamespace, builds: Builds) {
    this.namespace = namespace
    this.builds = builds
  }

  static async start(builds: Builds): Promise<UpdatedMachine> {
    const namespace = await RootNamespace.start({
      systemctl,
      'systemd-run': systemdRun,
      journalctl: 'exit 0',
    })
    const machine = new UpdatedMachine(namespace, builds)
    await namespace.sh('mkdir -p /run/systemd/system /etc/nix /var/lib')
    await machine.trust([])
    for (const { path, content } of updateServices(update('http://127.0.0.1:1')).files) {
      if (path === program) await machine.write(path, String(content))
    }
    return machine
  }

  /** Writes nix.conf with the cache, the key of the cache, and further lines. */
  async trust(lines: readonly string[]): Promise<void> {
    const settings = [
      `substituters = ${this.builds.cache}`,
      `trusted-public-keys = ${this.builds.publicKey()}`,
      'build-users-group =',
      'sandbox = false',
    ]
    await this.write('/etc/nix/nix.conf', `${[...settings, ...lines].join('\n')}\n`)
  }

  async write(path: string, text: string): Promise<void> {
    await this.namespace.sh('mkdir -p "${1%/*}" && printf %s "$2" > "$1"', path, text)
  }

  /** Removes all traces of earlier updates from the machine. */
  async reset(): Promise<void> {
    await this.namespace.sh('rm -rf /var/lib/hydra-ops/auto-update /run/hydra-ops /run/units /run/test')
    await this.trust([])
  }

  /** Deploys a closure of the cache as an operator does, at this time (seconds since 1970). */
  async deploy(path: string, at: number): Promise<void> {
    await this.namespace.sh(`${ownNix} nix-store --realise "$1"`, path)
    await this.namespace.sh('/usr/bin/perl "$1/hydra-ops/activate.pl" "$1" --owner "$2"', path, owner)
    await this.namespace.sh('touch -h -d "@$1" /nix/var/nix/profiles/hydra-ops', String(at))
  }

  /** Runs the program as the timer does. */
  async run(url: string, changes: Record<string, unknown> = {}, flags: readonly string[] = []) {
    const settings = { ...debianConfiguration(update(url)), ...changes }
    await this.write(configuration, JSON.stringify(settings))
    return this.start(flags)
  }

  async start(flags: readonly string[] = []): Promise<CommandResult & { readonly said: string }> {
    const { signal } = new AbortController()
    const argv = [...ownNix.split(' '), '/usr/bin/perl', program, configuration, ...flags]
    const ended = await this.namespace.host.exec(argv, { signal, timeoutMs: 300_000, what: 'update' })
    return { ...ended, said: ended.stdout.trimEnd().split('\n').at(-1) ?? '' }
  }

  /** Returns the path that the profile leads to, and the content of /etc/version. */
  async runs(): Promise<{ path: string; version: string }> {
    const [path = '', version = ''] = (
      await this.namespace.sh('readlink -e /nix/var/nix/profiles/hydra-ops; cat /etc/version')
    ).split('\n')
    return { path, version }
  }

  async result(): Promise<unknown> {
    return JSON.parse(await this.namespace.sh('cat "$1"', updateResultFile))
  }

  /** Lists the remaining files and units that a run must not leave behind. */
  async leftovers(): Promise<string> {
    return this.namespace.sh(
      'ls -d /run/hydra-ops/set-up-by /run/units/* /var/lib/hydra-ops/auto-update/attempt.json /var/lib/hydra-ops/auto-update/*.new 2> /dev/null; true',
    )
  }

  dispose(): Promise<void> {
    return this.namespace.dispose()
  }
}

/** Words that make Nix read the machine's nix.conf instead of the settings of the tests. */
const ownNix = 'env -u NIX_CONFIG -u NIX_REMOTE'
export const owner = '11111111-2222-3333-4444-555555555555'
const program = '/etc/hydra-ops/auto-update/program.pl'
const configuration = '/etc/hydra-ops/auto-update/configuration.json'

/** Returns the options of the machine's automatic update. */
export function update(url: string) {
  const autoUpdate = { enable: true, url, project: 'infra', jobset: 'main' }
  const { name, options } = debianMachine({ autoUpdate })
  const wanted = autoUpdateOf(name, options)
  if (wanted === undefined) throw new Error('no update is wanted')
  return wanted
}

/** Stand-in for systemctl, with a file for each transient unit in /run/units and the exit status in NAME.code. */
const systemctl = `
while case $1 in --quiet) ;; *) false ;; esac; do shift; done
verb=$1
shift
case $verb in
  show)
    unit=$4
    if [ "$1 $3" != "-p --" ]; then echo "Unknown option $*" >&2; exit 1; fi
    load=loaded main=0 code=0
    if [ ! -e "/run/units/$unit" ]; then load=not-found active=inactive sub=dead
    elif [ ! -e "/run/units/$unit.code" ]; then active=active sub=running
    else
      main=1 code=$(cat "/run/units/$unit.code") active=failed sub=failed
      [ "$code" != 0 ] || active=active sub=exited
    fi
    printf "%s\\n" "Id=$unit" "LoadState=$load" "ActiveState=$active" "SubState=$sub" Result=success "ExecMainCode=$main" "ExecMainStatus=$code" ;;
  stop | reset-failed)
    [ "$1" != -- ] || shift
    if [ ! -e "/run/units/$1" ]; then echo "Unit $1 not loaded." >&2; exit 5; fi
    [ ! -e "/run/units/$1.code" ] || rm -f "/run/units/$1" "/run/units/$1.code" ;;
  *) echo "Unknown command verb $verb." >&2; exit 1 ;;
esac`

const systemdRun = `
log= unit=
while :; do
  case $1 in
    --quiet | --service-type=exec | --remain-after-exit) shift ;;
    --unit=*) unit=\${1#*=}; shift ;;
    -p)
      case $2 in
        StandardOutput=append:*) log=\${2#*append:} ;;
        StandardError=inherit) ;;
        *) echo "Unknown assignment: $2" >&2; exit 1 ;;
      esac
      shift 2 ;;
    -*) echo "systemd-run: unrecognized option $1" >&2; exit 1 ;;
    *) break ;;
  esac
done
mkdir -p /run/units
if [ -e "/run/units/$unit" ]; then
  echo "Failed to start transient service unit: Unit $unit was already loaded or has a fragment file." >&2
  exit 1
fi
: > "/run/units/$unit"
run="log=\\$1 unit=\\$2; shift 2; \\"\\$@\\" >> \\"\\$log\\" 2>&1; echo \\$? > /run/units/new && mv /run/units/new \\"/run/units/\\$unit.code\\""
setsid sh -c "$run" sh "$log" "$unit" "$@" > /dev/null 2>&1 < /dev/null &
exit 0`
