import type { EventSink, OpsEvent } from '../core/events.js'
import { printable, printableLines } from './printable.js'
import { outcomeText } from './results-view.js'
import type { Style } from './style.js'

/** Shows progress as lines that begin with the machine's name: `web> copy: 14 paths`. */
export function createPlainProgress(write: (text: string) => void, style: Style): EventSink {
  return {
    emit: (event) => {
      for (const line of linesOf(event, style)) write(`${line}\n`)
    },
  }
}

/** Formats a line of a machine's output: `web> text`. */
export function prefixedLine(machine: string, line: string, style: Style): string {
  return `${style.strong(`${machine}>`)} ${printableLines(line).join(' ')}`
}

/** Returns the lines that describe an event. */
export function linesOf(event: OpsEvent, style: Style): string[] {
  switch (event.kind) {
    case 'stage': {
      const detail = event.detail === undefined ? '' : `: ${printable(event.detail)}`
      return [`${style.strong(`${event.machine}>`)} ${event.stage}${detail}`]
    }
    case 'line': {
      const prefix = event.machine === undefined ? '' : `${style.strong(`${event.machine}>`)} `
      return printableLines(event.line).map((line) => `${prefix}${line}`)
    }
    case 'done':
      return [`${style.strong(`${event.machine}>`)} ${doneText(event.result)}`]
    case 'notice':
      return printableLines(event.text).map((line) => `${style.warn('note:')} ${line}`)
    default:
      return event satisfies never
  }
}

function doneText(result: Extract<OpsEvent, { kind: 'done' }>['result']): string {
  const reason = result.reason === undefined ? '' : `: ${printable(result.reason)}`
  return `${outcomeText(result)} in ${result.seconds.toFixed(1)} s${reason}`
}
