import { describeEnd, lastLines } from '../src/core/command-result.js'
import { failure } from '../src/core/errors.js'
import type { StorePath } from '../src/core/names.js'
import type { Fetchable, FetchOptions, FetchProblem, Nix } from '../src/core/nix.js'
import type { Run } from '../src/core/run.js'
import type { CommandResult, Host } from '../src/core/ssh.js'
import { flush } from './copy.js'
import { copyMs } from './copy-by-ssh.js'
import { reporter } from './copy-progress.js'
import { flagArguments, type NixCommand } from './nix-command.js'
import { findNix } from './remote-store.js'

const askMs = 5 * 60_000
const evidenceLines = 8

/**
 * Options for each fetch. Nix would otherwise remember for an hour that a cache lacks a path, and for 30 days by which
 * key a path is signed. Hydra may have built or signed the path since then. Nix would also try an unreachable cache
 * five times, with growing pauses.
 */
const patience = [
  ['narinfo-cache-negative-ttl', '0'],
  ['narinfo-cache-positive-ttl', '0'],
  ['connect-timeout', '15'],
  ['download-attempts', '2'],
].flatMap(([name = '', value = '']) => ['--option', name, value])

/** Script that runs nix-store on the machine with the options of the fetch. */
const askScript = `${findNix}
command -v nix-store >/dev/null || exit 127
exec nix-store --realise "$@"`

/** Script that fetches the closure and protects the path until an activation has moved the profile. */
const fetchScript = `${findNix}
command -v nix-store >/dev/null || exit 127
roots=/nix/var/nix/gcroots/hydra-ops
mkdir -p "$roots" && ln -sfn -- "$1" "$roots/\${1##*/}"
exec nix-store --realise "$@"`

/**
 * Fetches closures from binary caches, on this host or by a machine itself. `nix-store --realise` of an output
 * path builds nothing, because Nix does not have the derivation.
 */
export function createSubstituter(command: NixCommand): Pick<Nix, 'fetchable' | 'fetch'> {
  return {
    async fetchable(host, path, options, run) {
      const what = `ask the caches for ${path}`
      const args = [path, '--dry-run', ...argumentsOf(options)]
      const result =
        host === undefined
          ? await command.run('nix-store', ['--realise', ...args], { ...bounds(run, askMs), what })
          : await host.script(askScript, args, { ...bounds(run, askMs), what })
      return readDryRun(host, path, result)
    },

    async fetch(host, path, options, run) {
      const what = `fetch ${path} from the caches`
      const args = [path, ...argumentsOf(options)]
      const report = reporter(run)
      let fetched = 0
      const onLine = (line: string) => {
        if (!/^copying path '/.test(line)) return
        fetched += 1
        report(`${fetched} paths`, false)
      }
      const result =
        host === undefined
          ? await command.run('nix-store', ['--realise', ...args], { ...bounds(run, copyMs), what, onLine })
          : await host.script(fetchScript, args, { ...bounds(run, copyMs), what, onLine })
      if (result.kind === 'exited' && result.code === 0) {
        if (host !== undefined) await flush(host, run)
        return undefined
      }
      return problemOf(host, result)
    },
  }
}

function bounds({ signal }: Run, timeoutMs: number) {
  return { signal, timeoutMs }
}

function argumentsOf({ allowUnsigned, flags }: FetchOptions): string[] {
  return [
    ...patience,
    ...(allowUnsigned ? ['--option', 'require-sigs', 'false'] : []),
    ...(flags === undefined ? [] : flagArguments(flags)),
  ]
}

/** Reads the answer of a dry run, which names what Nix would fetch. */
function readDryRun(host: Host | undefined, path: StorePath, result: CommandResult): Fetchable {
  const [, paths, , unpacked = '0', unit = 'MiB'] =
    /these? (?:(\d+) )?paths? will be fetched(?: \(([\d.]+ \w+) download, ([\d.]+) (\w+) unpacked\))?/.exec(
      result.stderr,
    ) ?? []
  if (result.kind === 'exited' && result.code === 0 && !/don't know how to build/.test(result.stderr)) {
    const listed = result.stderr.includes(path) || paths !== undefined
    if (!listed) return { kind: 'valid' }
    return { kind: 'fetchable', paths: Number(paths ?? 1), bytes: Number(unpacked) * (sizes[unit] ?? 1) }
  }
  return { kind: 'absent', problem: problemOf(host, result) }
}

const sizes: Readonly<Record<string, number>> = {
  KiB: 1024,
  MiB: 1024 * 1024,
  GiB: 1024 * 1024 * 1024,
}

/** Causes with patterns of Nix's messages, the most specific cause first. */
const causes: readonly (readonly [FetchProblem['kind'], RegExp])[] = [
  ['unsigned', /is not signed by any of the keys|lacks a (?:valid )?signature/],
  ['full', /No space left on device/],
  ['unreachable', /unable to download|[Cc]ould(?:n't| not) (?:connect|resolve)|disabling binary cache/],
  ['absent', /don't know how to build|no substituter that can build|does not exist in binary cache/],
]

function problemOf(host: Host | undefined, result: CommandResult): FetchProblem {
  if (host !== undefined && result.kind === 'exited' && result.code === 127) {
    throw failure('NO_NIX', `machine '${host.machine}': Nix is not installed on the machine`, {
      machine: host.machine,
      hint: `hydra-ops setup run nix --include ${host.machine}`,
    })
  }
  if (host !== undefined && result.kind === 'lost') {
    throw failure(
      'CONNECTION_LOST',
      `machine '${host.machine}': the connection broke while the machine fetched paths: ${describeEnd(result)}`,
      { machine: host.machine, hint: 'deploy again; the machine keeps the paths that it has' },
    )
  }
  const [kind = 'other'] = causes.find(([, words]) => words.test(result.stderr)) ?? []
  return { kind, detail: lastLines(result.stderr, evidenceLines) || describeEnd(result) }
}
