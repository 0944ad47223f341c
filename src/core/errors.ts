/** Exit codes of the command line; binding for scripts. */
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
  /** What to try next, as one sentence or one command. */
  readonly hint?: string
  /** The machine it is about, when it is about one. */
  readonly machine?: string
  readonly cause?: unknown
  /** Longer evidence (last log lines, a trace); shown below the message. Never holds a secret. */
  readonly detail?: string
}

/**
 * An expected failure: shown as one sentence, its hint, and its evidence, without a stack.
 * Anything that is not an OpsError is a bug and exits with 70.
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

/** Wrong flags, names or expressions: nothing was touched. */
export function usageError(message: string, facts: ErrorFacts = {}): OpsError {
  return new OpsError('USAGE', exitCodes.usage, message, facts)
}

/** Something that was tried did not work. */
export function failure(code: string, message: string, facts: ErrorFacts = {}): OpsError {
  return new OpsError(code, exitCodes.failed, message, facts)
}

/** A machine that does not answer. */
export function unreachable(machine: string, message: string, facts: ErrorFacts = {}): OpsError {
  return new OpsError('UNREACHABLE', exitCodes.unreachable, message, { ...facts, machine })
}

/** Somebody else is writing to this deployment. */
export function locked(message: string, facts: ErrorFacts = {}): OpsError {
  return new OpsError('LOCKED', exitCodes.locked, message, facts)
}

/** The user pressed Ctrl-C or the process got SIGTERM. */
export function interrupted(message = 'interrupted', facts: ErrorFacts = {}): OpsError {
  return new OpsError('INTERRUPTED', exitCodes.interrupted, message, facts)
}

/** Says why a signal that fired ended something: a deadline of the one who waited is no interruption by the user. */
export function abortError({ reason }: AbortSignal, what?: string): OpsError {
  if (reason instanceof OpsError) return reason
  if (reason instanceof DOMException && reason.name === 'TimeoutError')
    return failure('DEADLINE', what === undefined ? reason.message : `${what}: ${reason.message}`)
  return interrupted(what === undefined ? undefined : `interrupted: ${what}`)
}

/** Throws the error of a signal that has fired: an interruption, a deadline, or the error that it was fired with. */
export function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw abortError(signal)
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
