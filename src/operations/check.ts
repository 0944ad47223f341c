import pLimit from 'p-limit'
import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { messageOf, throwIfAborted } from '../core/errors.js'
import type { MachineName } from '../core/names.js'
import type { OrphanResource } from '../core/provider.js'
import type { CheckReport, MachineCheck } from '../core/reports.js'
import type { Run } from '../core/run.js'
import { settleAll } from '../core/settle.js'
import type { Host } from '../core/ssh.js'
import { describeUpdate, readUpdateResult } from '../core/update-result.js'
import { loginMs } from '../machine/connect.js'
import { type MachineStatus, observeMachine, type Subject } from '../machine/observe.js'
import { resourceOf } from '../machine/resource.js'
import { inNaturalOrder } from '../network/natural-order.js'
import { selectRecordedMachines } from '../network/select-by-tag.js'
import type { Selection } from '../network/selection.js'
import { targetScript } from '../remote/target-scripts.js'
import { systemOf } from '../systems/systems.js'

const machinesAtOnce = 10
const connectMs = 15_000
const lookMs = 30_000
/** Usage from which a file system counts as full. */
const fullPercent = 95

/** Bits of the exit status of NixOps' `check`. */
export const checkBits = { missing: 1, down: 2, unreachable: 4, disks: 8, units: 16 } as const

export function checkStatus(report: CheckReport): number {
  let status = 0
  for (const machine of report.machines) {
    if (machine.exists === false) status |= checkBits.missing
    if (machine.exists === true && machine.up === false && !machine.stoppedOnPurpose) status |= checkBits.down
    // A machine whose provider does not answer counts as unreachable, too.
    if (machine.reachable === false || machine.exists === undefined) status |= checkBits.unreachable
    if (machine.disksOk === false) status |= checkBits.disks
    if ((machine.failedUnits ?? []).length > 0) status |= checkBits.units
  }
  return status
}

/** Checks every selected machine of the state, through its provider and over ssh. Writes nothing. */
export async function checkMachines(
  ops: Ops,
  request: { readonly deployment: string | undefined; readonly selection: Selection },
): Promise<CheckReport> {
  const record = await ops.store.resolve(request.deployment)
  const run: Run = { signal: ops.signal, log: () => {} }
  const names = await selectRecordedMachines(ops, record, request.selection, run)
  const limit = pLimit(machinesAtOnce)
  const machines = await settleAll(
    inNaturalOrder(names).map((machine) => limit(() => checkOne(ops, record, machine, run))),
  )
  throwIfAborted(ops.signal)
  const { orphans, problems } = await findOrphans(ops, run)
  return { machines, orphans, problems }
}

async function checkOne(
  ops: Ops,
  record: DeploymentRecord,
  machine: MachineName,
  run: Run,
): Promise<MachineCheck> {
  const known = record.machines[machine]
  const provider = ops.providers.all().find((each) => each.name === known?.provider)
  const subject: Subject = { ops, record, before: record, machine, definition: undefined, run }
  const seen = await observeMachine(subject, provider)
  const notes = [
    ...(seen.detail === undefined ? [] : [seen.detail]),
    ...(known?.obsolete === true ? ['obsolete'] : []),
  ]
  // It is unknown whether a silent host is switched on.
  const dark = seen.state === 'unreachable' && provider?.makesMachines === false ? { up: undefined } : {}
  const base = {
    ...fromState(seen),
    ...dark,
    name: machine,
    stoppedOnPurpose: known?.stoppedOnPurpose === true,
  }
  const nothing = { disksOk: undefined, load: undefined, failedUnits: undefined }
  if (seen.state !== 'up' || provider === undefined) return { ...base, ...nothing, notes }
  try {
    const target = await provider.target(resourceOf(ops, record, machine), run)
    const how = { signal: run.signal, timeoutMs: loginMs(target, connectMs) }
    const { host } = await ops.ssh.connect(target, how)
    try {
      const inside = await lookInside(host, run)
      const system = await systemOf({ os: known?.os ?? 'debian', name: machine }).status?.(host, run)
      const all = [...notes, ...inside.notes, ...(system?.notes ?? [])]
      return { ...base, ...inside, notes: all, ...(system === undefined ? {} : { system }) }
    } finally {
      host.close()
    }
  } catch (error) {
    throwIfAborted(run.signal)
    return { ...base, ...nothing, reachable: false, notes: [...notes, messageOf(error)] }
  }
}

function fromState({ state }: MachineStatus): Pick<MachineCheck, 'exists' | 'up' | 'reachable'> {
  switch (state) {
    case 'missing':
    case 'foreign':
      return { exists: false, up: undefined, reachable: undefined }
    case 'stopped':
      return { exists: true, up: false, reachable: undefined }
    case 'unreachable':
      return { exists: true, up: true, reachable: false }
    case 'up':
      return { exists: true, up: true, reachable: true }
    case 'unknown':
      return { exists: undefined, up: undefined, reachable: undefined }
    default:
      return state satisfies never
  }
}

type Inside = Pick<MachineCheck, 'disksOk' | 'load' | 'failedUnits' | 'notes' | 'autoUpdate'>

async function lookInside(host: Host, run: Run): Promise<Inside> {
  const options = {
    signal: run.signal,
    timeoutMs: lookMs,
    what: 'look at disks and units',
    asLoginUser: true,
  }
  const result = await host.script(targetScript('check'), [], options)
  if (result.kind !== 'exited') {
    return {
      disksOk: undefined,
      load: undefined,
      failedUnits: undefined,
      notes: ['the check of disks and units was interrupted'],
    }
  }
  return readLook(result.stdout)
}

/** Reads the output of target/check.sh, line by line. */
export function readLook(text: string): Inside {
  const values = (key: string) =>
    text.split('\n').flatMap((line) => (line.startsWith(`${key} `) ? [line.slice(key.length + 1)] : []))
  const full = values('disk').flatMap((line) => {
    const [, percent = '0', mount = '?'] = /^(\d+) (.*)$/.exec(line) ?? []
    return Number(percent) >= fullPercent ? [`${mount} is ${percent} % full`] : []
  })
  const readonly = values('readonly').map((mount) => `${mount} is mounted read-only`)
  const autoUpdate = readUpdateResult(values('auto-update')[0])
  const hasUnits = text.split('\n').includes('units')
  return {
    disksOk: full.length + readonly.length === 0,
    load: values('load')[0],
    failedUnits: hasUnits ? values('failed') : undefined,
    notes: [...readonly, ...full, ...(autoUpdate === undefined ? [] : [describeUpdate(autoUpdate)])],
    ...(autoUpdate === undefined ? {} : { autoUpdate }),
  }
}

async function findOrphans(ops: Ops, run: Run): Promise<Pick<CheckReport, 'orphans' | 'problems'>> {
  const known = new Set(
    (await ops.store.list()).flatMap((record) =>
      Object.keys(record.machines).map((name) => `${record.uuid}/${name}`),
    ),
  )
  // An unreadable deployment may own some of these resources.
  const unread = (await ops.store.problems()).map(messageOf)
  const problems = [...unread]
  const orphans: OrphanResource[] = []
  for (const provider of ops.providers.all()) {
    try {
      const owned = (await provider.listOwned?.(run)) ?? []
      orphans.push(...owned.filter((each) => !known.has(`${each.deployment}/${each.machine}`)))
    } catch (error) {
      throwIfAborted(run.signal)
      problems.push(`the resources of ${provider.name} cannot be listed: ${messageOf(error)}`)
    }
  }
  return { orphans: unread.length > 0 ? [] : orphans, problems }
}
