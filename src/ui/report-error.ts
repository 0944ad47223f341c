import { exitCodes, messageOf, OpsError } from '../core/errors.js'
import { printable, printableLines } from './printable.js'
import type { Style } from './style.js'

export interface ReportOptions {
  readonly debug: boolean
  readonly style: Style
  write(text: string): void
}

/** Shows what was thrown and returns the exit status it means. */
export function reportError(error: unknown, { debug, style, write }: ReportOptions): number {
  const say = (text: string) => write(`${text}\n`)
  if (error instanceof OpsError) {
    const [first = '', ...more] = printableLines(error.message)
    say(`${style.bad('error:')} ${first}`)
    for (const line of more) say(`  ${line}`)
    if (error.detail !== undefined && error.detail !== '') {
      for (const line of printableLines(error.detail)) say(`  ${style.faint(line)}`)
    }
    if (error.hint !== undefined) say(`${style.strong('hint:')} ${printable(error.hint)}`)
    if (debug) say(stackOf(error))
    return error.exitCode
  }
  say(`${style.bad('error:')} this is a bug of hydra-ops: ${printable(messageOf(error))}`)
  say(debug ? stackOf(error) : `${style.strong('hint:')} --debug shows where it happened; please report that`)
  return exitCodes.bug
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return ''
  const own = printableLines(error.stack ?? error.message).join('\n')
  return error.cause === undefined ? own : `${own}\ncaused by: ${stackOf(error.cause)}`
}
