import { execa, type Options } from 'execa'
import type { LocalCommands } from '../core/context.js'
import { abortError, failure } from '../core/errors.js'
import { onAbort } from '../core/on-abort.js'
import type { CommandResult } from '../core/ssh.js'
import { startedByUs } from '../core/started-programs.js'
import { endGroup, errorCodeOf, isTooLong, keepEnds, lines, missing } from './child-process.js'
import { spawnDuplex } from './spawn-duplex.js'
import { spawnReadable } from './spawn-readable.js'

/** The maximum size of accepted output, in bytes. The value is execa's default, named here for the error message. */
const maxOutput = 100_000_000

/**
 * Commands on the operator host. Each command gets its own process group, so that a deadline or a Ctrl-C ends its
 * children too. Otherwise execa's promise would wait for every process that holds the pipe.
 */
export const localCommands: LocalCommands = {
  spawnDuplex,
  spawnReadable,

  async run(argv, options) {
    const [file, ...args] = argv
    if (file === undefined) throw failure('NO_COMMAND', 'the command to run is empty')
    if (options.signal.aborted) throw abortError(options.signal, options.what)
    const child = execa(file, args, {
      reject: false,
      detached: true,
      stripFinalNewline: false,
      maxBuffer: maxOutput,
      // hydra-ops reads stderr itself, because the end of stderr is the most useful part.
      buffer: { stderr: false },
      encoding: options.encoding ?? 'utf8',
      env: { LC_ALL: 'C.UTF-8', ...options.env, ...startedByUs(argv) },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.stdin === undefined ? { stdin: 'ignore' } : { input: options.stdin }),
    } satisfies Options)
    const said = options.stderr === 'hidden' ? nothing(child.stderr) : keepEnds(child.stderr)
    const { onLine } = options
    if (onLine !== undefined) {
      for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', lines(onLine))
    }
    const ended = endGroup(child)
    let why: 'deadline' | 'cancelled' | undefined
    const deadline = setTimeout(() => {
      why = 'deadline'
      ended()
    }, options.timeoutMs)
    const cancel = () => {
      why = 'cancelled'
      ended()
    }
    const stopListening = onAbort(options.signal, cancel)
    try {
      const result = await child
      if (why === 'cancelled') throw abortError(options.signal, options.what)
      if (why === 'deadline') {
        throw failure(
          'DEADLINE',
          `cannot ${options.what}: '${file}' did not end within ${options.timeoutMs / 1000} s`,
          { detail: tail(said.text()) },
        )
      }
      if (isTooLong(result)) {
        ended()
        throw failure(
          'OUTPUT_TOO_LARGE',
          `cannot ${options.what}: '${file}' printed more than ${maxOutput / 1_000_000} MB`,
          { hint: `run '${file}' by hand and check its output` },
        )
      }
      const spawnError = errorCodeOf(result)
      if (spawnError === 'ENOENT') throw missing(file, options.what)
      if (spawnError !== undefined && result.exitCode === undefined && result.signal === undefined) {
        throw failure(
          'NOT_EXECUTABLE',
          `cannot ${options.what}: '${file}' cannot be executed (${spawnError})`,
        )
      }
      return toResult(file, result, said.text())
    } finally {
      clearTimeout(deadline)
      stopListening()
    }
  },

  async interactive(argv, options) {
    const [file, ...args] = argv
    if (file === undefined) throw failure('NO_COMMAND', 'the command to run is empty')
    const result = await execa(file, args, { stdio: 'inherit', reject: false, env: { ...options.env } })
    if (errorCodeOf(result) === 'ENOENT') throw missing(file, 'open a session')
    if (result.exitCode !== undefined) return result.exitCode
    return 128 + (result.signal === 'SIGINT' ? 2 : result.signal === 'SIGTERM' ? 15 : 1)
  },
}

interface Ended {
  readonly stdout: unknown
  readonly exitCode?: number | undefined
  readonly signal?: string | undefined
}

function toResult(file: string, result: Ended, stderr: string): CommandResult {
  const stdout = String(result.stdout ?? '')
  if (result.exitCode !== undefined) return { kind: 'exited', code: result.exitCode, stdout, stderr }
  if (result.signal !== undefined) return { kind: 'killed', signal: result.signal, stdout, stderr }
  throw failure('COMMAND', `'${file}' ended without an exit status`)
}

/** Reads a stream to its end, so that the program does not wait for a reader, and discards the content. */
function nothing(stream: NodeJS.ReadableStream | null): { text(): string } {
  stream?.resume()
  return { text: () => '' }
}

function tail(text: string): string {
  return text.split('\n').slice(-20).join('\n').trim()
}
