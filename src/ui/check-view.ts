import type { CheckReport, MachineCheck } from '../core/reports.js'
import { printable } from './printable.js'
import type { Style } from './style.js'
import { boxTable, type Cell, columnsOf, plainTable, type Row } from './table.js'

const columns = ['Name', 'Exists', 'Up', 'Reachable', 'Disks OK', 'Load avg.', 'Units', 'Notes'].map(
  (title) => ({
    title,
  }),
)

/** Formats the table that NixOps users know, then resources that belong to no deployment any more. */
export function checkView(report: CheckReport, { style, plain }: { style: Style; plain: boolean }): string {
  const rows = report.machines.map((machine) => row(machine, style))
  const orphans = report.orphans.map((orphan): Row => [orphan.name, orphan.deployment, orphan.machine])
  if (plain) {
    return plainTable([...rows, ...orphans.map((orphan): Row => ['orphan', ...orphan])])
  }
  const parts = [boxTable(columns, rows)]
  if (orphans.length > 0) {
    const titles: Row = ['Resource', 'Deployment', 'Machine']
    parts.push('', style.warn('Machines with the mark of hydra-ops that are in no deployment of this state:'))
    parts.push(...columnsOf([titles, ...orphans], 2).map((line) => `  ${line}`))
  }
  for (const problem of report.problems) parts.push('', `${style.warn('note:')} ${printable(problem)}`)
  return parts.join('\n')
}

function row(machine: MachineCheck, style: Style): Row {
  const { stoppedOnPurpose } = machine
  return [
    machine.name,
    yesOrNo(machine.exists, style),
    machine.up === false && stoppedOnPurpose ? 'No (stopped)' : yesOrNo(machine.up, style),
    yesOrNo(machine.reachable, style),
    yesOrNo(machine.disksOk, style),
    machine.load ?? 'N/A',
    unitsText(machine, style),
    machine.notes.join('; '),
  ]
}

function yesOrNo(value: boolean | undefined, style: Style): Cell {
  if (value === undefined) return 'N/A'
  return value ? { text: 'Yes', paint: style.good } : { text: 'No', paint: style.bad }
}

function unitsText({ failedUnits }: MachineCheck, style: Style): Cell {
  if (failedUnits === undefined) return 'N/A'
  if (failedUnits.length === 0) return { text: 'OK', paint: style.good }
  return { text: failedUnits.map((unit) => `${unit} [failed]`).join(', '), paint: style.bad }
}
