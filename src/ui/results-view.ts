import type { MachineResult } from '../core/events.js'
import { printableLines } from './printable.js'
import type { Paint, Style } from './style.js'
import { boxTable, plainTable, type Row } from './table.js'

/** Formats the end of a run: one row per machine, then the reason and the evidence of each failure. */
export function resultsView(
  results: readonly MachineResult[],
  { style, plain }: { readonly style: Style; readonly plain: boolean },
): string {
  if (plain) return plainTable(results.map((result) => row(result, style)))
  const columns = [{ title: 'Name' }, { title: 'Result' }, { title: 'Duration', align: 'right' as const }]
  const table = boxTable(
    columns,
    results.map((result) => row(result, style)),
  )
  const explained = results
    .filter((result) => result.reason !== undefined)
    .map((result) => explain(result, style))
  const quiet =
    results.length > 0 &&
    results.every(({ outcome, reason }) => outcome === 'unchanged' && reason === undefined)
  return [table, ...explained, ...(quiet ? ['Up-to-date: nothing was changed'] : [])].join('\n')
}

/** Formats an outcome: `failed at copy`. */
export function outcomeText(result: MachineResult): string {
  const stage = result.outcome === 'failed' || result.outcome === 'degraded' ? result.stage : undefined
  return stage === undefined ? result.outcome : `${result.outcome} at ${stage}`
}

function row(result: MachineResult, style: Style): Row {
  return [
    result.machine,
    { text: outcomeText(result), paint: paintOf(result, style) },
    `${result.seconds.toFixed(1)} s`,
  ]
}

function explain(result: MachineResult, style: Style): string {
  const [first = '', ...more] = printableLines(result.reason ?? '')
  const lines = [
    `\n${style.strong(result.machine)}: ${paintOf(result, style)(outcomeText(result))}: ${first}`,
  ]
  for (const line of [...more, ...(result.evidence ?? []).flatMap(printableLines)])
    lines.push(`  ${style.faint(line)}`)
  for (const line of result.hint === undefined ? [] : printableLines(result.hint))
    lines.push(`  ${style.strong('hint:')} ${line}`)
  return lines.join('\n')
}

function paintOf(result: MachineResult, style: Style): Paint {
  if (result.outcome === 'failed') return style.bad
  if (result.outcome === 'degraded' || result.outcome === 'skipped') return style.warn
  return result.outcome === 'changed' ? style.good : style.faint
}
