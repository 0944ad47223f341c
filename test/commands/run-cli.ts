import { Readable } from 'node:stream'
import { runProgram } from '../../src/commands/program.js'
import type { Ops } from '../../src/core/context.js'

export interface CliRun {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface CliOptions {
  /** What the verb works with; opening it without one fails the test. */
  readonly ops?: Ops
  readonly env?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
  /** What a real process would see of its terminal. Default: none. */
  readonly terminal?: boolean
  /** What is piped to it. */
  readonly stdin?: string
}

/** One command line in this process, with its own streams. */
export async function runCli(argv: readonly string[], options: CliOptions = {}): Promise<CliRun> {
  const written = { stdout: '', stderr: '' }
  const isTTY = options.terminal ?? false
  const stream = (name: 'stdout' | 'stderr') => ({
    isTTY,
    write: (text: string) => {
      written[name] += text
    },
  })
  const code = await runProgram(argv, {
    signal: options.signal ?? new AbortController().signal,
    openOps: async ({ ui }) => {
      if (options.ops === undefined) throw new Error('the command line opened the context')
      return { ...options.ops, events: ui.events, questions: options.ops.questions }
    },
    world: {
      stdin: Object.assign(Readable.from([options.stdin ?? '']), { isTTY }),
      stdout: stream('stdout'),
      stderr: stream('stderr'),
      env: { TERM: 'xterm', CI: '1', ...options.env },
    },
  })
  return { code, ...written }
}
