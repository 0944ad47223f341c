import { createHash } from 'node:crypto'
import { posix } from 'node:path'
import { commandFailure } from '../core/command-result.js'
import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { targetScript } from './target-scripts.js'

/** A file for a machine. */
export interface PlacedFile {
  /** Absolute path. */
  readonly path: string
  readonly content: string | Uint8Array
  readonly mode: number
  readonly user: string
  readonly group: string
  /**
   * Whether root gets the file, with mode 0600, if its user or group is missing. A missing owner is an error by
   * default.
   */
  readonly ownerMayBeMissing?: boolean
  /**
   * Mode and group of the directory when it is missing; a missing group is created too. The default is 0755 and root.
   */
  readonly directory?: { readonly mode: number; readonly group: string }
}

/**
 * Puts files on a machine, either all files or none. Each file is written beside its destination, and gets its owner
 * and mode before its content. The renames follow only when all files are complete. A reader therefore never finds a
 * file missing, half written or readable by others, and a lost connection changes nothing. Content travels on stdin
 * only. The function returns the paths whose owner does not exist (see `ownerMayBeMissing`).
 */
export async function placeFiles(
  host: Host,
  files: readonly PlacedFile[],
  options: { readonly run: Run; readonly what: string; readonly timeoutMs?: number },
): Promise<string[]> {
  if (files.length === 0) return []
  const { run, what } = options
  const result = await host.script(targetScript('place-files', { files: files.map(recordOf) }), [], {
    signal: run.signal,
    timeoutMs: options.timeoutMs ?? 120_000,
    what,
    stdin: frame(files),
  })
  const answers = result.stdout.split('\n').filter((line) => line !== '')
  if (result.kind !== 'exited' || result.code !== 0) throw placingFailed(host, what, files, result, answers)
  return answers.flatMap((line) =>
    line.startsWith('ownerless ') ? (pathAt(files, line.slice(10)) ?? []) : [],
  )
}

function placingFailed(
  host: Host,
  what: string,
  files: readonly PlacedFile[],
  result: Parameters<typeof commandFailure>[0],
  answers: readonly string[],
): Error {
  const [, index, why] = /^failed (\d+) (.*)$/.exec(answers.at(-1) ?? '') ?? []
  const path = index === undefined ? undefined : pathAt(files, index)
  if (path === undefined) return commandFailure(result, { machine: host.machine, what })
  return failure('PLACE_FILE', `machine '${host.machine}': cannot ${what}: ${JSON.stringify(path)}: ${why}`, {
    machine: host.machine,
    detail: result.stderr.trim(),
  })
}

function pathAt(files: readonly PlacedFile[], index: string): string | undefined {
  return files[Number(index)]?.path
}

/** Builds the record of a file for target/place-files.sh. */
function recordOf(file: PlacedFile): string[] {
  return [
    file.path,
    stagedPath(file.path),
    file.user,
    file.group,
    octal(file.mode),
    file.ownerMayBeMissing === true ? 'yes' : 'no',
    octal(file.directory?.mode ?? 0o755),
    file.directory?.group ?? 'root',
  ]
}

/** Returns the same path for each attempt at a destination, so that the next attempt overwrites what a crash left. */
export function stagedPath(path: string): string {
  const id = createHash('sha256').update(posix.basename(path)).digest('hex').slice(0, 16)
  return posix.join(posix.dirname(path), `.hydra-ops-${id}.new`)
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0')
}

/** Frames the files for stdin: the size of each file on a line, then its bytes. */
function frame(files: readonly PlacedFile[]): Uint8Array {
  return Buffer.concat(
    files.flatMap((file) => {
      const content = Buffer.from(file.content)
      return [Buffer.from(`${content.length}\n`), content]
    }),
  )
}
