import type { RunLog } from '../core/reports.js'
import { printableLines } from './printable.js'
import type { Style } from './style.js'

/** Formats the lines of a log; the lines of several machines begin with the machine's name. */
export function logView({ machines }: RunLog, style: Style): string {
  return machines
    .flatMap(({ machine, text }) => {
      const prefix = machines.length === 1 || machine === undefined ? '' : `${style.strong(`${machine}>`)} `
      return text === '' ? [] : printableLines(text).map((line) => `${prefix}${line}`)
    })
    .join('\n')
}
