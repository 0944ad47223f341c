import { Readable } from 'node:stream'
import { runProgram } from '../../src/commands/program.js'
import type { Ops } from '../../src/core/context.js'

export interface CliRun {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface CliOptions {
  /** The dependencies of the verb; without them, a verb that opens them fails the test. */
  readonly ops?: Ops
  readonly env?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
  /** Whether the process seems to have a terminal. Default: no. */
  readonly terminal?: boolean
  /** The input that is piped to the command. */
  readonly stdin?: string
}

/** Runs one command line in this process, with separate streams. */
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
