import type { RunLog } from '../core/reports.js'
import { printableLines } from './printable.js'
import type { Style } from './style.js'

/** The lines of a log; of several machines each with its machine in front. */
export function logView({ machines }: RunLog, style: Style): string {
  return machines
    .flatMap(({ machine, text }) => {
      const prefix = machines.length === 1 || machine === undefined ? '' : `${style.strong(`${machine}>`)} `
      return text === '' ? [] : printableLines(text).map((line) => `${prefix}${line}`)
    })
    .join('\n')
}
