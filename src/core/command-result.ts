import { failure } from './errors.js'
import type { CommandResult } from './ssh.js'

/** How much of what a command said is kept as evidence. */
const evidenceLines = 20

/** How a command ended, for a sentence. */
export function describeEnd(result: CommandResult): string {
  switch (result.kind) {
    case 'exited':
      return `it ended with status ${result.code}`
    case 'killed':
      return `it was killed by ${result.signal}`
    case 'lost':
      return 'the connection was lost before it ended'
  }
}

/** The output of a command on a machine that had to succeed; else an error with the end of what it said. */
export function requireSuccess(
  result: CommandResult,
  facts: { readonly machine: string; readonly what: string; readonly hint?: string },
): { readonly stdout: string; readonly stderr: string } {
  if (result.kind === 'exited' && result.code === 0) return result
  throw commandFailure(result, facts)
}

/** Only its stderr is evidence: stdout may carry what must not be shown. */
export function commandFailure(
  result: CommandResult,
  facts: { readonly machine: string; readonly what: string; readonly hint?: string },
): Error {
  const { machine, what, hint } = facts
  const detail = lastLines(result.stderr, evidenceLines)
  return failure(
    result.kind === 'lost' ? 'CONNECTION_LOST' : 'REMOTE_COMMAND',
    `machine '${machine}': ${what}: ${describeEnd(result)}`,
    { machine, ...(hint === undefined ? {} : { hint }), ...(detail === '' ? {} : { detail }) },
  )
}

export function lastLines(text: string, count: number): string {
  return text.trimEnd().split('\n').slice(-count).join('\n').trim()
}
