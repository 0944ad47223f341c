import type { Ops } from '../core/context.js'
import { exitCodes, OpsError, usageError } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import { SnapshotName } from '../core/names.js'
import type { Snapshot } from '../core/provider.js'
import type { SnapshotRow } from '../core/reports.js'
import type { Run } from '../core/run.js'
import { noSnapshot, snapshotExists } from '../core/snapshot-errors.js'
import { journal, type MachineSession, recordOf, resourceFor, updateJob } from '../machine/machine.js'
import { machineRecord } from '../machine/session.js'
import { beginSnapshotRecord, dropRecord, ownRecord, recordOfSnapshot } from '../machine/snapshot-facts.js'
import { inNaturalOrder } from '../network/natural-order.js'
import { selectRecordedMachines } from '../network/select-by-tag.js'
import { findHolders, findSnapshots, powerOf, problemOf, selectKeepers } from './find-snapshots.js'
import { onMachines } from './on-machines.js'
import { madeMachine, type PowerRequest } from './power.js'

export interface SnapshotRequest extends PowerRequest {
  readonly name: string
}

/** Creates a snapshot of each machine, including the memory of a running machine. */
export async function createSnapshots(
  ops: Ops,
  request: SnapshotRequest & { readonly description: string | undefined },
): Promise<MachineResult[]> {
  const { description } = request
  const name = newName(request.name)
  const record = await ops.store.resolve(request.deployment)
  const include = await selectKeepers(ops, record, request.selection)
  if (include.length === 0) return []
  const wanted = { ...request, selection: { include }, verb: 'snapshot.create' }
  return onMachines(ops, wanted, async (deployment, machine, run) => {
    const session = madeMachine(ops, deployment, machine, run)
    const power = powerOf(ops, deployment.record, machine)
    if (power === undefined) throw new Error(`the provider of ${machine} lost its snapshots`)
    const resource = await resourceFor(session)
    const present = await snapshotOf(session, name, run)
    if (present !== undefined) return finish(session, present)
    await journal(session, 'snapshot.create', { data: name })
    const since = ops.now().toISOString()
    await updateJob(session, (draft) => {
      draft.snapshots = { ...draft.snapshots, [name]: beginSnapshotRecord(recordOf(session), since) }
    })
    await power.create(resource, { name, description }, run)
    const made = await snapshotOf(session, name, run)
    if (made === undefined) throw gone(session, name)
    await complete(session, made)
    return true
  })
}

function newName(text: string): SnapshotName {
  const parsed = SnapshotName.safeParse(text)
  if (parsed.success) return parsed.data
  throw usageError(`'${text}' is not a name for a snapshot`, { hint: parsed.error.issues[0]?.message ?? '' })
}

/** Finds a snapshot in the hypervisor's list of the machine's snapshots. */
export async function snapshotOf(
  session: MachineSession,
  name: string,
  run: Run,
): Promise<Snapshot | undefined> {
  const listed = (await session.provider.snapshots?.list(await resourceFor(session), run)) ?? []
  return listed.find((each) => each.name === name)
}

/** Completes a snapshot whose creation a crash of hydra-ops interrupted; refuses any other snapshot of that name. */
async function finish(session: MachineSession, present: Snapshot): Promise<boolean> {
  const { machine } = session
  const begun = recordOfSnapshot(recordOf(session), present)
  if (begun === undefined || begun.at !== undefined) {
    throw snapshotExists(machine, present.name)
  }
  session.run.log(`snapshot '${present.name}' was created by a command that did not finish`)
  await complete(session, present)
  return true
}

/** Records the hypervisor's time of a snapshot, which ties the record to that snapshot. */
async function complete(session: MachineSession, { name, at }: Snapshot): Promise<void> {
  await updateJob(session, (draft) => {
    const begun = ownRecord(draft, name)
    if (begun !== undefined) draft.snapshots = { ...draft.snapshots, [name]: { ...begun, at } }
  })
  await journal(session, 'snapshot.create', { result: 'done', data: name })
}

function gone({ machine }: MachineSession, name: string): OpsError {
  return noSnapshot(machine, name, 'another program deleted the snapshot at the same time')
}

/** Lists the snapshots of machines as their hypervisors report them; neither locks nor writes. */
export async function listSnapshots(
  ops: Ops,
  request: PowerRequest,
): Promise<{ readonly snapshots: SnapshotRow[]; readonly problems: string[] }> {
  const record = await ops.store.resolve(request.deployment)
  const quiet: Run = { signal: ops.signal, log: () => {} }
  const machines = await selectRecordedMachines(ops, record, request.selection, quiet)
  const found = await findSnapshots(ops, record, inNaturalOrder(machines, String), request.maxConcurrent)
  return {
    snapshots: found.flatMap(({ machine, snapshots }) =>
      snapshots.map((snapshot) => {
        const closure = recordOfSnapshot(machineRecord(record, machine), snapshot)?.deployed?.path
        return { machine, ...snapshot, closure }
      }),
    ),
    problems: found.flatMap((each) => (each.problem === undefined ? [] : [problemOf(each)])),
  }
}

/** Deletes the named snapshot of each machine that has the snapshot. Asks first. */
export async function deleteSnapshots(
  ops: Ops,
  request: SnapshotRequest & { readonly yes: boolean },
): Promise<MachineResult[]> {
  const { name } = request
  const record = await ops.store.resolve(request.deployment)
  const include = (await findHolders(ops, record, request)).holders.map(({ machine }) => machine)
  if (!request.yes) {
    const called = record.name ?? record.uuid
    const question = `delete snapshot '${name}' of ${include.join(', ')} of deployment '${called}'?`
    if (!(await ops.questions.confirm(question)))
      throw new OpsError('REFUSED', exitCodes.failed, 'nothing was deleted')
  }
  const wanted = { ...request, selection: { include }, verb: 'snapshot.delete' }
  return onMachines(ops, wanted, async (deployment, machine, run) => {
    const session = madeMachine(ops, deployment, machine, run)
    await journal(session, 'snapshot.delete', { data: name })
    await session.provider.snapshots?.delete(await resourceFor(session), name, run)
    await updateJob(session, (draft) => dropRecord(draft, name))
    await journal(session, 'snapshot.delete', { result: 'done', data: name })
    return true
  })
}
