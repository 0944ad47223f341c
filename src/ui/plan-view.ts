import { isEmpty, type Plan, type PlanAction } from '../core/plan.js'
import type { Paint, Style } from './style.js'
import { columnsOf, type Row } from './table.js'

/** Formats the plan with one line per item; only a machine's first line has the machine's name. */
export function planView(plan: Plan, style: Style): string {
  const rows: Row[] = []
  for (const { machine, items, unknown } of plan.machines) {
    items.forEach((item, at) => {
      const note = item.note === undefined ? '' : `   (${item.note})`
      rows.push([
        { text: at === 0 ? machine : '', paint: style.strong },
        item.subject,
        { text: item.action, paint: paintOf(item.action, style) },
        `${item.detail}${note}`,
      ])
    })
    if (unknown !== undefined) {
      rows.push([
        { text: items.length === 0 ? machine : '', paint: style.strong },
        'machine',
        { text: 'unknown', paint: style.warn },
        unknown,
      ])
    }
  }
  const nothing = isEmpty(plan) && plan.machines.every((machine) => machine.unknown === undefined)
  return nothing ? 'Up-to-date: nothing to do' : columnsOf(rows, 3).join('\n')
}

function paintOf(action: PlanAction, style: Style): Paint {
  if (action === 'destroy' || action === 'recreate' || action === 'remove') return style.bad
  if (action === 'change' || action === 'replace' || action === 'reboot') return style.warn
  return style.good
}
