import { exitCodes, messageOf, OpsError } from '../core/errors.js'
import { withFileFailure } from '../core/file-failure.js'
import { printable, printableLines } from './printable.js'
import { createStyle, type Style, wantsColour } from './style.js'

export interface ReportOptions {
  readonly debug: boolean
  /** Whether colours are allowed; false after `--no-color`. */
  readonly colour: boolean
  readonly env: Readonly<Record<string, string | undefined>>
  readonly stderr: { readonly isTTY?: boolean | undefined; write(text: string): unknown }
}

/** Shows a thrown error and returns its exit status. */
export function reportError(thrown: unknown, { debug, colour, env, stderr }: ReportOptions): number {
  const style = createStyle(wantsColour(stderr, colour, env))
  const error = withFileFailure(thrown)
  const say = (text: string) => void stderr.write(`${text}\n`)
  if (!(error instanceof OpsError)) {
    say(`${style.bad('error:')} this is a bug in hydra-ops: ${printable(messageOf(error))}`)
    say(
      debug ? stackOf(error) : `${style.strong('hint:')} please report this error with the output of --debug`,
    )
    return exitCodes.bug
  }
  for (const line of sentences(error, style)) say(line)
  if (debug) say(stackOf(error))
  return error.exitCode
}

function sentences(error: OpsError, style: Style): string[] {
  const [first = '', ...more] = printableLines(error.message)
  const detail = error.detail === undefined || error.detail === '' ? [] : printableLines(error.detail)
  return [
    `${style.bad('error:')} ${first}`,
    ...more.map((line) => `  ${line}`),
    ...detail.map((line) => `  ${style.faint(line)}`),
    ...(error.hint === undefined
      ? []
      : printableLines(error.hint).map((line) => `${style.strong('hint:')} ${line}`)),
  ]
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return ''
  const own = printableLines(error.stack ?? error.message).join('\n')
  return error.cause === undefined ? own : `${own}\ncaused by: ${stackOf(error.cause)}`
}
