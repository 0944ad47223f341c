import pLimit from 'p-limit'
import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { messageOf, OpsError, usageError } from '../core/errors.js'
import type { Json } from '../core/json.js'
import type { MachineName } from '../core/names.js'
import type { Snapshot, Snapshots } from '../core/provider.js'
import type { Run } from '../core/run.js'
import { settleAll } from '../core/settle.js'
import { checkEach } from '../core/several-errors.js'
import { suggest } from '../core/suggest.js'
import { resourceOf } from '../machine/resource.js'
import { machineRecord } from '../machine/session.js'
import { selectRecordedMachines } from '../network/select-by-tag.js'
import type { Selection } from '../network/selection.js'

/** One machine and its snapshots, or the reason why its hypervisor did not list them. */
export interface Found {
  readonly machine: MachineName
  readonly snapshots: readonly Snapshot[]
  readonly problem: unknown
}

/** Returns the snapshot functions of a machine's provider; undefined if the provider keeps no snapshots. */
export function powerOf(
  ops: Ops,
  record: DeploymentRecord,
  machine: MachineName,
): Snapshots<Json, Json, Json> | undefined {
  return ops.providers.named(machineRecord(record, machine).provider).snapshots
}

/** Selects machines of the state. Refuses a machine whose provider keeps no snapshots, before anything is touched. */
export async function selectKeepers(
  ops: Ops,
  record: DeploymentRecord,
  selection: Selection,
): Promise<MachineName[]> {
  const quiet: Run = { signal: ops.signal, log: () => {} }
  const machines = await selectRecordedMachines(ops, record, selection, quiet)
  checkEach(machines, (machine) => {
    if (powerOf(ops, record, machine) !== undefined) return
    const { provider } = machineRecord(record, machine)
    throw usageError(`machine '${machine}': provider '${provider}' does not support snapshots`, {
      machine,
      hint: `leave the machine out: --exclude ${machine}`,
    })
  })
  return machines
}

/** Queries the hypervisors for the snapshots of machines; the list is empty if the provider keeps no snapshots. */
export async function findSnapshots(
  ops: Ops,
  record: DeploymentRecord,
  machines: readonly MachineName[],
  maxConcurrent: number,
): Promise<Found[]> {
  const quiet: Run = { signal: ops.signal, log: () => {} }
  const limit = pLimit(maxConcurrent)
  const look = async (machine: MachineName): Promise<Found> => {
    try {
      const resource = resourceOf(ops, record, machine)
      const snapshots = (await powerOf(ops, record, machine)?.list(resource, quiet)) ?? []
      return { machine, snapshots, problem: undefined }
    } catch (problem) {
      if (problem instanceof OpsError && problem.code !== 'INTERRUPTED')
        return { machine, snapshots: [], problem }
      throw problem
    }
  }
  return settleAll(machines.map((machine) => limit(() => look(machine))))
}

/** A machine that has the wanted snapshot. */
export interface Holder {
  readonly machine: MachineName
  readonly snapshot: Snapshot
}

/**
 * Finds the machines with a snapshot of that name. Every machine that the user named must have the snapshot. At least
 * one machine must have the snapshot if the user named none.
 */
export async function findHolders(
  ops: Ops,
  record: DeploymentRecord,
  request: { readonly name: string; readonly selection: Selection; readonly maxConcurrent: number },
): Promise<{ holders: Holder[]; others: MachineName[] }> {
  const { name, selection, maxConcurrent } = request
  const machines = await selectKeepers(ops, record, selection)
  const found = await findSnapshots(ops, record, machines, maxConcurrent)
  checkEach(found, ({ problem }) => {
    if (problem !== undefined) throw problem
  })
  const holders: Holder[] = []
  const others: MachineName[] = []
  for (const { machine, snapshots } of found) {
    const snapshot = snapshots.find((each) => each.name === name)
    if (snapshot === undefined) others.push(machine)
    else holders.push({ machine, snapshot })
  }
  const named = selection.on !== undefined || (selection.include ?? []).length > 0
  if (holders.length === 0 || (named && others.length > 0))
    throw noSnapshot(name, found, named ? others[0] : undefined)
  return { holders, others }
}

function noSnapshot(name: string, found: readonly Found[], machine: MachineName | undefined): OpsError {
  const names = [
    ...new Set(
      found
        .filter((each) => machine === undefined || each.machine === machine)
        .flatMap(({ snapshots }) => snapshots.map((snapshot) => snapshot.name)),
    ),
  ]
  const close = suggest(name, names)
  const all =
    names.length === 0 ? 'hydra-ops snapshot create NAME creates one' : `there are: ${names.join(', ')}`
  const who = machine === undefined ? 'no machine' : `machine '${machine}'`
  return usageError(`${who} has ${machine === undefined ? 'a' : 'no'} snapshot '${name}'`, {
    ...(machine === undefined ? {} : { machine }),
    hint: close === undefined ? all : `did you mean '${close}'?`,
  })
}

/** Describes an error of one machine's hypervisor for a notice. */
export function problemOf({ machine, problem }: Found): string {
  const hint = problem instanceof OpsError && problem.hint !== undefined ? ` (${problem.hint})` : ''
  const message = messageOf(problem)
  return message.includes(`'${machine}'`) ? `${message}${hint}` : `machine '${machine}': ${message}${hint}`
}
