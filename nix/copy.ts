import { requireSuccess } from '../src/core/command-result.js'
import type { LocalCommands } from '../src/core/context.js'
import { failure } from '../src/core/errors.js'
import type { StorePath } from '../src/core/names.js'
import type { Nix } from '../src/core/nix.js'
import type { Run } from '../src/core/run.js'
import type { Host } from '../src/core/ssh.js'
import { copyBySsh } from './copy-by-ssh.js'
import { copyByStream } from './copy-by-stream.js'
import type { NixCommand } from './nix-command.js'
import type { Environment } from './nix-store-choice.js'
import { findNix, linesOf, pathsIn } from './remote-store.js'
import { brokenOn, removeBroken } from './repair.js'
import type { StoreQueries } from './store-queries.js'

const askMs = 5 * 60_000
/** Deadline for `sync`, which also waits for the data of all other writers. */
const syncMs = 15 * 60_000

export interface CopyParts {
  readonly command: NixCommand
  readonly queries: StoreQueries
  readonly spawnReadable: LocalCommands['spawnReadable']
  readonly env: Environment
}

/**
 * Script that lists the missing paths. A machine without a database has no valid paths, and nix-store would otherwise
 * create a database.
 */
const missingScript = `${findNix}
if [ -e /nix/var/nix/db/db.sqlite ] && command -v nix-store >/dev/null
then exec xargs -r nix-store --check-validity --print-invalid
else exec cat
fi`

/**
 * Script that prints the path of nix-store and creates a GC root for the closure to be copied. The root protects
 * the closure from garbage collection until the activation has moved the profile and removes the root.
 */
const prepareScript = `${findNix}
command -v nix-store || exit 127
roots=/nix/var/nix/gcroots/hydra-ops
mkdir -p "$roots" && ln -sfn -- "$1" "$roots/\${1##*/}"`

export type Copier = Pick<Nix, 'missingOn' | 'copy' | 'copyMethod' | 'repair' | 'removeBroken'>

export function createCopier(parts: CopyParts): Copier {
  const { queries } = parts
  const copier: Copier = {
    missingOn,
    copyMethod: (host) => methodOf(host).description,

    async copy(host, path, options, run) {
      const nixStore = await prepare(host, path, run)
      const closure = await queries.closure(path, run)
      const method = methodOf(host)
      if (method.kind === 'ssh') {
        const remoteProgram = [...method.prefix, nixStore]
        await copyBySsh(parts, host, { path, count: closure.paths.length, remoteProgram, ...options }, run)
      } else {
        const missing = await missingOn(host, closure.paths, run)
        if (missing.length > 0) await copyByStream(parts, host, { missing, nixStore }, run)
      }
      await flush(host, run)
    },

    async repair(host, path, options, run) {
      const broken = await copier.removeBroken(host, path, run)
      if (broken.length > 0) await copier.copy(host, path, { ...options, substitute: false }, run)
      return broken
    },

    async removeBroken(host, path, run) {
      const { paths } = await queries.closure(path, run)
      const broken = await brokenOn(host, paths, run)
      if (broken.length > 0) await removeBroken(host, broken, run)
      return broken
    },
  }
  return copier
}

async function missingOn(host: Host, paths: readonly StorePath[], run: Run): Promise<StorePath[]> {
  const what = 'look for paths in the store of the machine'
  const stdin = linesOf(paths)
  const result = await host.script(missingScript, [], { signal: run.signal, timeoutMs: askMs, what, stdin })
  const missing = new Set(pathsIn(requireSuccess(result, { machine: host.machine, what }).stdout))
  // The order of `paths` is kept: dependencies first.
  return paths.filter((path) => missing.has(path))
}

/** Creates the GC root and returns the absolute path of nix-store on the machine. */
async function prepare(host: Host, path: StorePath, run: Run): Promise<string> {
  const what = 'prepare the copy'
  const result = await host.script(prepareScript, [path], { signal: run.signal, timeoutMs: askMs, what })
  if (result.kind === 'exited' && result.code === 127) {
    throw failure('NO_NIX', `machine '${host.machine}': Nix is not installed on the machine`, {
      machine: host.machine,
      hint: `hydra-ops setup run nix --include ${host.machine}`,
    })
  }
  return requireSuccess(result, { machine: host.machine, what }).stdout.trim()
}

/**
 * Flushes the files to the disk. Nix's database can reach the disk before the files. Paths could otherwise be
 * valid but empty after a power cut (measured).
 */
export async function flush(host: Host, run: Run): Promise<void> {
  const what = 'write the closure to the disk'
  const result = await host.exec(['sync'], { signal: run.signal, timeoutMs: syncMs, what })
  requireSuccess(result, { machine: host.machine, what })
}

type Method =
  /** `prefix` precedes nix-store in the command on the machine. */
  | { readonly kind: 'ssh'; readonly prefix: readonly string[]; readonly description: string }
  | { readonly kind: 'stream'; readonly description: string }

/**
 * Chooses nix-copy-closure where it can become root without a password and the login shell prints nothing. All
 * other machines get an export, streamed into an import over hydra-ops's own connection.
 */
export function methodOf(host: Host): Method {
  if (host.noisyShell) return { kind: 'stream', description: 'streamed, because the login shell prints text' }
  switch (host.escalation) {
    case 'root':
      return { kind: 'ssh', prefix: [], description: 'nix-copy-closure' }
    case 'untried':
      return { kind: 'stream', description: 'streamed, because root access has not been tried yet' }
    case 'sudo-password':
      return { kind: 'stream', description: 'streamed, because sudo asks for a password' }
    case 'sudo': {
      const [sudo = ''] = host.target.privilegeEscalation
      if (!/(?:^|\/)sudo$/.test(sudo)) return { kind: 'stream', description: `streamed through ${sudo}` }
      return { kind: 'ssh', prefix: [sudo, '-n'], description: 'nix-copy-closure through sudo' }
    }
  }
}
