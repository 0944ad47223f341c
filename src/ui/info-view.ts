import type { Currency, DeploymentInfo, MachineInfo, SeenState, SystemStatus } from '../core/reports.js'
import { printable } from './printable.js'
import type { Paint, Style } from './style.js'
import { boxTable, columnsOf, plainTable, type Row } from './table.js'

const columns = [
  { title: 'Name' },
  { title: 'Status', align: 'center' as const },
  { title: 'Type' },
  { title: 'Resource Id' },
  { title: 'IP address' },
]

const states: Readonly<Record<SeenState, string>> = {
  missing: 'Missing',
  up: 'Up',
  stopped: 'Stopped',
  unreachable: 'Unreachable',
  foreign: 'Foreign',
  unknown: 'Unknown',
}

const currencies: Readonly<Record<Currency, string>> = {
  new: 'New',
  'up-to-date': 'Up-to-date',
  outdated: 'Outdated',
  obsolete: 'Obsolete',
  revived: 'Revived',
}

/** Formats a deployment as NixOps does; published URLs and the outputs of set-up tasks follow the table. */
export function infoView(info: DeploymentInfo, style: Style): string {
  const parts = [
    heading(info, style),
    '',
    boxTable(
      columns,
      info.machines.map((machine) => row(machine, style)),
    ),
  ]
  const urls = info.machines.flatMap((machine) => machine.urls.map((url): Row => [machine.name, url]))
  if (urls.length > 0) parts.push('', style.strong('Published:'), ...indented(urls))
  const outputs = info.machines.flatMap((machine) =>
    Object.entries(machine.outputs).flatMap(([task, values]) =>
      Object.entries(values).map(([key, value]): Row => [machine.name, task, key, value]),
    ),
  )
  if (outputs.length > 0) parts.push('', style.strong('Set-up:'), ...indented(outputs))
  const systems = info.machines.flatMap(({ name, system }) =>
    system === undefined ? [] : systemRows(system).map((cells, at): Row => [at === 0 ? name : '', ...cells]),
  )
  if (systems.length > 0) parts.push('', style.strong('Systems:'), ...indented(systems))
  const updates = info.machines.flatMap(({ name, autoUpdate }): Row[] =>
    autoUpdate === undefined
      ? []
      : [[name, autoUpdate.at, autoUpdate.path ?? '', `${autoUpdate.result}: ${autoUpdate.message}`]],
  )
  if (updates.length > 0) parts.push('', style.strong('Automatic updates:'), ...indented(updates))
  const details = info.machines.flatMap((machine): Row[] =>
    machine.detail === undefined || machine.state === 'up' ? [] : [[machine.name, machine.detail]],
  )
  if (details.length > 0) parts.push('', style.strong('Notes:'), ...indented(details))
  return parts.join('\n')
}

/**
 * Formats rows for scripts: name, status, type, resource id, address. Rows of several deployments begin with UUID and
 * name.
 */
export function plainInfo(infos: readonly DeploymentInfo[], all: boolean, style: Style): string {
  return plainTable(
    infos.flatMap((info) =>
      info.machines.map((machine) => [...(all ? [info.uuid, info.name ?? ''] : []), ...row(machine, style)]),
    ),
  )
}

/** Formats a state: `Up / Outdated`. */
export function statusText({ state, currency }: Pick<MachineInfo, 'state' | 'currency'>): string {
  return currency === undefined ? states[state] : `${states[state]} / ${currencies[currency]}`
}

function heading(info: DeploymentInfo, style: Style): string {
  const args = Object.entries(info.args).map(([name, value]) => `${name} = ${value}`)
  const lines: (readonly [string, string])[] = [
    ['Network name', info.name ?? '(none)'],
    ['Network UUID', info.uuid],
    ['Network description', info.description ?? '(none)'],
    ['Nix expressions', info.expressions.join(' ')],
    ...(info.fromGit ? [['Evaluated from', 'the files that git tracks'] as const] : []),
    ...(info.searchPath.length === 0
      ? []
      : [['Nix search path', info.searchPath.map((entry) => `-I ${entry}`).join(' ')] as const]),
    ...(args.length === 0 ? [] : [['Nix arguments', args.join(', ')] as const]),
  ]
  return lines.map(([title, text]) => `${style.strong(`${title}:`)} ${printable(text)}`).join('\n')
}

function row(machine: MachineInfo, style: Style): Row {
  return [
    machine.name,
    { text: statusText(machine), paint: paintOf(machine, style) },
    machine.type,
    machine.resourceId,
    machine.address ?? '',
  ]
}

function paintOf({ state, currency }: MachineInfo, style: Style): Paint {
  if (state === 'unreachable' || state === 'foreign' || state === 'unknown') return style.bad
  if (state !== 'up' || (currency !== undefined && currency !== 'up-to-date')) return style.warn
  return style.good
}

function systemRows({
  running,
  booted,
  bootDefault,
  previous,
  generations,
  notes,
  failedUnits,
}: SystemStatus) {
  const unlessRunning = (path: string | undefined) =>
    path === undefined ? 'unknown' : path === running ? 'the same' : path
  const newest = generations.at(-1)
  const count = newest === undefined ? 'none' : `${generations.length}, the newest is ${newest.number}`
  return [
    ['running', running ?? 'unknown'],
    ['booted', unlessRunning(booted)],
    ['next boot', unlessRunning(bootDefault)],
    ['generations', count],
    ...(previous === undefined ? [] : [['rollback to', previous]]),
    ...(failedUnits.length === 0 ? [] : [['failed', failedUnits.join(', ')]]),
    ...notes.map((note) => ['note', note]),
  ]
}

function indented(rows: readonly Row[]): string[] {
  return columnsOf(rows, 2).map((line) => `  ${line}`)
}
