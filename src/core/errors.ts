/** Exit codes of the command line; scripts may rely on them. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  machines: 3,
  unreachable: 4,
  locked: 5,
  bug: 70,
  interrupted: 130,
} as const

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

export interface ErrorFacts {
  /** The next step to try, as one sentence or one command. */
  readonly hint?: string
  /** The machine that the error concerns, if any. */
  readonly machine?: string
  readonly cause?: unknown
  /** Longer evidence (last log lines, a trace), shown below the message. The evidence never contains a secret. */
  readonly detail?: string
}

/**
 * An expected failure, shown as one sentence with its hint and evidence, but without a stack trace. Any other error
 * is a bug, and the exit code is then 70.
 */
export class OpsError extends Error {
  readonly code: string
  readonly exitCode: ExitCode
  readonly hint: string | undefined
  readonly machine: string | undefined
  readonly detail: string | undefined

  constructor(code: string, exitCode: ExitCode, message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.name = 'OpsError'
    this.code = code
    this.exitCode = exitCode
    this.hint = facts.hint
    this.machine = facts.machine
    this.detail = facts.detail
  }
}

/** Creates the error for wrong flags, names or expressions. Nothing has been changed at that point. */
export function usageError(message: string, facts: ErrorFacts = {}): OpsError {
  return new OpsError('USAGE', exitCodes.usage, message, facts)
}

/** Creates the error for an attempt that failed. */
export function failure(code: string, message: string, facts: ErrorFacts = {}): OpsError {
  return new OpsError(code, exitCodes.failed, message, facts)
}

/** Creates the error for a machine that does not answer. */
export function unreachable(machine: string, message: string, facts: ErrorFacts = {}): OpsError {
  return new OpsError('UNREACHABLE', exitCodes.unreachable, message, { ...facts, machine })
}

/** Creates the error for a deployment that another process is writing to. */
export function locked(message: string, facts: ErrorFacts = {}): OpsError {
  return new OpsError('LOCKED', exitCodes.locked, message, facts)
}

/** Creates the error for Ctrl-C or SIGTERM. */
export function interrupted(message = 'interrupted', facts: ErrorFacts = {}): OpsError {
  return new OpsError('INTERRUPTED', exitCodes.interrupted, message, facts)
}

/** Creates the error for a fired signal. A caller's deadline does not count as an interruption by the user. */
export function abortError({ reason }: AbortSignal, what?: string): OpsError {
  if (reason instanceof OpsError) return reason
  if (reason instanceof DOMException && reason.name === 'TimeoutError')
    return failure('DEADLINE', what === undefined ? reason.message : `cannot ${what}: ${reason.message}`)
  return interrupted(what === undefined ? undefined : `interrupted while trying to ${what}`)
}

/** Throws the error of a signal that has fired: an interruption, a deadline, or the signal's own error. */
export function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw abortError(signal)
}

/** Returns the message of any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
