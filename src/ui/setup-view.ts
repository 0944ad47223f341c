import type { SetupRow } from '../core/reports.js'
import type { Paint, Style } from './style.js'
import { boxTable, plainTable, type Row } from './table.js'

/** Formats every wanted set-up task of every machine with its outputs. */
export function setupView(
  rows: readonly SetupRow[],
  { style, plain }: { style: Style; plain: boolean },
): string {
  const paints: Readonly<Record<SetupRow['state'], Paint>> = {
    done: style.good,
    needed: style.warn,
    drifted: style.bad,
    unknown: style.bad,
  }
  const cells = rows.map(({ machine, task, state, detail, outputs }): Row => {
    const left = Object.entries(outputs).map(([key, value]) => `${key} = ${value}`)
    return [
      machine,
      task,
      { text: state, paint: paints[state] },
      [...(detail === undefined ? [] : [detail]), ...left].join('; '),
    ]
  })
  if (plain) return plainTable(cells)
  return boxTable(
    ['Machine', 'Task', 'State', 'Notes'].map((title) => ({ title })),
    cells,
  )
}
