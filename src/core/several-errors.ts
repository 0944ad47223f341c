import { type ExitCode, exitCodes, messageOf, OpsError } from './errors.js'
import { withFileFailure } from './file-failure.js'

/** Codes of errors that all commands on one broken connection share. */
const ofTheConnection = new Set(['CONNECTION_LOST', 'UNREACHABLE'])

/**
 * Joins several thrown errors into one error with a line for each. An interruption replaces all other errors. The
 * result is an OpsError only if all errors are OpsErrors.
 */
export function severalErrors(thrown: readonly unknown[]): unknown {
  const errors = thrown.map(withFileFailure)
  const interruption = errors.find((error) => error instanceof OpsError && error.code === 'INTERRUPTED')
  if (interruption !== undefined) return interruption
  const different = withoutRepeats(errors)
  const [first, ...others] = different
  if (others.length === 0) return first
  const expected = different.flatMap((error) => (error instanceof OpsError ? [error] : []))
  const message = different.map(messageOf).join('\n')
  const cause = new AggregateError(different, message)
  if (expected.length < different.length) return cause
  const hints = unique(expected.map(({ hint }) => hint))
  const details = unique(expected.map(({ detail }) => detail))
  const [machine, ...otherMachines] = new Set(expected.map((error) => error.machine))
  return new OpsError(
    commonOf(expected.map(({ code }) => code)) ?? 'SEVERAL',
    exitCodeOf(expected),
    message,
    {
      cause,
      ...(hints.length === 0 ? {} : { hint: hints.join('\n') }),
      ...(details.length === 0 ? {} : { detail: details.join('\n') }),
      ...(machine === undefined || otherMachines.length > 0 ? {} : { machine }),
    },
  )
}

/** Checks every item, then throws the problems of all items. */
export function checkEach<T>(items: Iterable<T>, check: (item: T) => void): void {
  mapEach(items, check)
}

/** Maps every item; throws all failures after every item was tried. */
export function mapEach<T, Made>(items: Iterable<T>, make: (item: T) => Made): Made[] {
  const made: Made[] = []
  const thrown: unknown[] = []
  for (const item of items) {
    try {
      made.push(make(item))
    } catch (error) {
      thrown.push(error)
    }
  }
  if (thrown.length > 0) throw severalErrors(thrown)
  return made
}

/** Runs the action on every item in turn, then throws all failures. An interruption ends the series at once. */
export async function eachInTurn<T>(items: Iterable<T>, action: (item: T) => Promise<void>): Promise<void> {
  const thrown: unknown[] = []
  for (const item of items) {
    try {
      await action(item)
    } catch (error) {
      if (error instanceof OpsError && error.code === 'INTERRUPTED') throw error
      thrown.push(error)
    }
  }
  if (thrown.length > 0) throw severalErrors(thrown)
}

function withoutRepeats(errors: readonly unknown[]): unknown[] {
  const seen = new Set<string>()
  return errors.filter((error) => {
    const said = sameness(error)
    if (seen.has(said)) return false
    seen.add(said)
    return true
  })
}

function sameness(error: unknown): string {
  if (error instanceof OpsError && ofTheConnection.has(error.code)) return `connection ${error.machine}`
  return `message ${messageOf(error)}`
}

/** Returns the exit code of several errors. Different codes are replaced by the code for a failed attempt. */
function exitCodeOf(errors: readonly OpsError[]): ExitCode {
  return commonOf(errors.map(({ exitCode }) => exitCode)) ?? exitCodes.failed
}

function commonOf<T>(values: readonly T[]): T | undefined {
  const [first, ...others] = new Set(values)
  return others.length === 0 ? first : undefined
}

function unique(texts: readonly (string | undefined)[]): string[] {
  return [...new Set(texts.flatMap((text) => (text === undefined || text === '' ? [] : [text])))]
}
