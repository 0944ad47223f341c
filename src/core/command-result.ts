import { failure } from './errors.js'
import type { CommandResult } from './ssh.js'

/** Number of output lines that are kept as evidence. */
const evidenceLines = 20

/** Describes how a command ended, as part of a sentence. */
export function describeEnd(result: CommandResult): string {
  switch (result.kind) {
    case 'exited':
      return `the command ended with status ${result.code}`
    case 'killed':
      return `the command was killed by ${result.signal}`
    case 'lost':
      return 'the connection was lost before the command ended'
  }
}

/** Returns the output of a successful command. Throws an error with the end of the output after a failure. */
export function requireSuccess(
  result: CommandResult,
  facts: { readonly machine: string; readonly what: string; readonly hint?: string },
): { readonly stdout: string; readonly stderr: string } {
  if (result.kind === 'exited' && result.code === 0) return result
  throw commandFailure(result, facts)
}

/** Creates the error for a failed command. Only stderr is evidence, because stdout may contain secrets. */
export function commandFailure(
  result: CommandResult,
  facts: { readonly machine: string; readonly what: string; readonly hint?: string },
): Error {
  const { machine, what, hint } = facts
  const detail = lastLines(result.stderr, evidenceLines)
  return failure(
    result.kind === 'lost' ? 'CONNECTION_LOST' : 'REMOTE_COMMAND',
    `machine '${machine}': cannot ${what}: ${describeEnd(result)}`,
    { machine, ...(hint === undefined ? {} : { hint }), ...(detail === '' ? {} : { detail }) },
  )
}

export function lastLines(text: string, count: number): string {
  return text.trimEnd().split('\n').slice(-count).join('\n').trim()
}
