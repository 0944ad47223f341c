import { Transform } from 'node:stream'
import { describeEnd, lastLines } from '../src/core/command-result.js'
import type { LocalCommands } from '../src/core/context.js'
import { failure } from '../src/core/errors.js'
import type { StorePath } from '../src/core/names.js'
import type { Run } from '../src/core/run.js'
import type { CommandResult, Host } from '../src/core/ssh.js'
import { copyMs } from './copy-by-ssh.js'
import { hintFor, reporter } from './copy-progress.js'
import { howItEnded, type NixCommand } from './nix-command.js'
import { type Environment, storeEnvironment } from './nix-store-choice.js'

const evidenceLines = 20
const what = 'copy the closure'

export interface StreamParts {
  readonly command: NixCommand
  readonly spawnReadable: LocalCommands['spawnReadable']
  readonly env: Environment
}

export interface StreamCopy {
  /** Paths that the machine lacks, dependencies first. */
  readonly missing: readonly StorePath[]
  /** Absolute path of nix-store on the machine. */
  readonly nixStore: string
}

/**
 * Streams `nix-store --export` on this host into `nix-store --import` as root on the machine, over hydra-ops's
 * own connection.
 */
export async function copyByStream(
  parts: StreamParts,
  host: Host,
  copy: StreamCopy,
  run: Run,
): Promise<void> {
  const { stdout, done } = parts.spawnReadable(['nix-store', '--export', ...copy.missing], {
    signal: run.signal,
    what,
    env: storeEnvironment(await parts.command.store(), parts.env),
  })
  const counted = counter(run, copy.missing.length)
  stdout.on('error', (error) => counted.destroy(error))
  stdout.pipe(counted)
  let imported: CommandResult
  try {
    imported = await host.exec([copy.nixStore, '--import'], {
      signal: run.signal,
      timeoutMs: copyMs,
      what,
      stdin: counted,
    })
  } finally {
    stdout.destroy()
  }
  const exported = await done
  // The side that failed by itself is the cause; the other side only saw the stream break.
  if (exported.kind === 'exited' && exported.code !== 0)
    throw broken(host, `the export failed: ${howItEnded(exported)}`, exported)
  if (imported.kind !== 'exited' || imported.code !== 0)
    throw broken(host, `the import failed: ${describeEnd(imported)}`, imported)
  if (exported.kind !== 'exited') throw broken(host, `the export failed: ${howItEnded(exported)}`, exported)
}

function counter(run: Run, paths: number): Transform {
  const report = reporter(run)
  let bytes = 0
  const line = () => `${(bytes / 1024 / 1024).toFixed(1)} MiB of ${paths} paths`
  return new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      bytes += chunk.length
      report(line(), false)
      done(null, chunk)
    },
    flush(done) {
      report(line(), true)
      done()
    },
  })
}

function broken(host: Host, why: string, result: CommandResult): Error {
  const code = result.kind === 'lost' ? 'CONNECTION_LOST' : 'COPY'
  return failure(code, `machine '${host.machine}': cannot ${what}: ${why}`, {
    machine: host.machine,
    detail: lastLines(result.stderr, evidenceLines),
    ...hintFor(result.stderr),
  })
}
