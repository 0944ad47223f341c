import { ago } from '../core/ages.js'
import { builderRows } from '../core/builder-rows.js'
import type { Ops } from '../core/context.js'
import type { DeploymentRecord, JournalEntry } from '../core/deployment.js'
import { exitCodes, messageOf, OpsError } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import { type MachineName, StorePath } from '../core/names.js'
import type { Observation } from '../core/provider.js'
import type { Run } from '../core/run.js'
import { settleAll } from '../core/settle.js'
import { noSnapshot } from '../core/snapshot-errors.js'
import {
  type DrainChoice,
  drainIfRunning,
  inUseAfterFailure,
  resumeBuildersOf,
  resumeOrSay,
} from '../deploy/drain.js'
import { bootMs, hostOf, waitAndConnect } from '../machine/connect.js'
import { sayMoved, startResource, takenPortsFor } from '../machine/lifecycle.js'
import {
  journal,
  type MachineSession,
  recordOf,
  resourceFor,
  updateJob,
  withLink,
} from '../machine/machine.js'
import { resourceOf } from '../machine/resource.js'
import { machineRecord } from '../machine/session.js'
import { dropClaims, putBack, recordOfSnapshot } from '../machine/snapshot-facts.js'
import { runScript } from '../remote/run-script.js'
import { systemOf } from '../systems/systems.js'
import { findHolders, type Holder, powerOf } from './find-snapshots.js'
import { onMachines } from './on-machines.js'
import { madeMachine, resendVolatileKeys } from './power.js'
import { type NetworkOnce, networkOnce } from './send-keys.js'
import { type SnapshotRequest, snapshotOf } from './snapshots.js'

/**
 * Restores a snapshot of each machine that has the snapshot. Describes the losses and asks first. A machine that ran,
 * or whose snapshot has memory, runs afterwards and answers over ssh.
 */
export async function restoreSnapshots(
  ops: Ops,
  request: SnapshotRequest & { readonly yes: boolean; readonly drain?: DrainChoice | undefined },
): Promise<MachineResult[]> {
  const { name } = request
  const record = await ops.store.resolve(request.deployment)
  const { holders, others } = await findHolders(ops, record, request)
  await sayLosses(ops, record, holders)
  if (others.length > 0) say(ops, `${others.join(', ')}: no snapshot '${name}'; left unchanged`)
  const include = holders.map(({ machine }) => machine)
  if (!request.yes) {
    const called = record.name ?? record.uuid
    const question = `restore snapshot '${name}' of ${include.join(', ')} of deployment '${called}'?`
    if (!(await ops.questions.confirm(question)))
      throw new OpsError('REFUSED', exitCodes.failed, 'nothing was restored')
  }
  const network = networkOnce(ops)
  const wanted = { ...request, selection: { include }, verb: 'snapshot.restore', groups: buildersFirst }
  return onMachines(ops, wanted, async (deployment, machine, run, selected) => {
    const session = madeMachine(ops, deployment, machine, run)
    await inUseAfterFailure(session, () =>
      restoreOne(session, name, network, { run, drain: request.drain, with: selected }),
    )
    return true
  })
}

/**
 * Puts builders before the machines that use them. A restored machine begins builds at once, and a later restore of its
 * builder would end these builds.
 */
function buildersFirst(
  record: DeploymentRecord,
  machines: readonly MachineName[],
): readonly (readonly MachineName[])[] {
  const used = new Set(
    builderRows(record).flatMap(({ builder, usedBy }) =>
      builder !== usedBy && machines.includes(usedBy) ? [builder] : [],
    ),
  )
  return [machines.filter((machine) => used.has(machine)), machines.filter((machine) => !used.has(machine))]
}

function say(ops: Ops, text: string): void {
  ops.events.emit({ kind: 'notice', text })
}

/** Describes the losses of a restore for each machine. Fails before the question if a snapshot cannot be restored. */
async function sayLosses(ops: Ops, record: DeploymentRecord, holders: readonly Holder[]): Promise<void> {
  const quiet: Run = { signal: ops.signal, log: () => {} }
  const history = await ops.store.history(record.uuid)
  const lines = await settleAll(
    holders.map(async ({ machine, snapshot }) => {
      const resource = resourceOf(ops, record, machine)
      const losses = (await powerOf(ops, record, machine)?.losses(resource, snapshot.name, quiet)) ?? []
      const observed = await ops.providers
        .named(machineRecord(record, machine).provider)
        .inspect(resource, quiet)
      const since = `all changes since ${snapshot.at} (${ago(ops.now(), snapshot.at)})`
      return `${machine}: a restore loses ${[since, ...deploysSince(history, machine, snapshot.at), ...running(observed), ...losses].join('; ')}`
    }),
  )
  for (const line of lines) say(ops, line)
}

function deploysSince(history: readonly JournalEntry[], machine: string, at: string): string[] {
  const count = history.filter(
    (entry) =>
      entry.machine === machine && entry.event === 'activate.start' && Date.parse(entry.at) > Date.parse(at),
  ).length
  return count === 0
    ? []
    : [count === 1 ? '1 generation was deployed since' : `${count} generations were deployed since`]
}

function running(observed: Observation): string[] {
  return observed.kind === 'running' ? ['the machine is running, and its programs end as in a power cut'] : []
}

interface Restoring {
  readonly run: Run
  readonly drain: DrainChoice | undefined
  /** Machines that are restored by the same command. */
  readonly with: readonly MachineName[]
}

async function restoreOne(
  session: MachineSession,
  name: string,
  network: NetworkOnce,
  { run, drain, with: selected }: Restoring,
): Promise<void> {
  const { machine, provider } = session
  const snapshot = await snapshotOf(session, name, run)
  const power = provider.snapshots
  if (snapshot === undefined || power === undefined) {
    throw noSnapshot(machine, name)
  }
  const resource = await resourceFor(session)
  // This check fails before any change to the record if the restore cannot begin.
  await power.losses(resource, name, run)
  await drainIfRunning(session, drain, { how: 'restored', with: selected })
  const before = await provider.inspect(resource, run)
  const kept = recordOfSnapshot(recordOf(session), snapshot)
  await journal(session, 'snapshot.restore', { data: name })
  await updateJob(session, (draft) => dropClaims(draft, kept))
  const allocation = await power.restore(resource, name, run, takenPortsFor(session))
  await updateJob(session, (draft) => {
    if (allocation !== undefined) draft.allocation = allocation
    putBack(draft, kept)
  })
  sayMoved(session, allocation)
  run.log(`restored snapshot '${name}'`)
  if (snapshot.memory || before.kind === 'running') await comeUp(session, snapshot.memory, network, run)
  await journal(session, 'snapshot.restore', { result: 'done', data: name })
}

/** Starts the machine unless it is already running, waits for ssh, and reads the machine's current state. */
async function comeUp(
  session: MachineSession,
  hadMemory: boolean,
  network: NetworkOnce,
  run: Run,
): Promise<void> {
  const observed = await session.provider.inspect(await resourceFor(session), run)
  if (observed.kind === 'running')
    await updateJob(session, (draft) => Object.assign(draft, { stoppedOnPurpose: undefined }))
  else await startResource(session)
  await withLink(session, async () => {
    await waitAndConnect(session, bootMs)
    if (hadMemory) await setClock(session, run)
    await readTruth(session, run)
    // A boot removes keys in /run; a snapshot with memory contains them.
    if (!hadMemory) await resendVolatileKeys(session, network)
    await resumeOrSay(session)
    await resumeBuildersOf(session)
  })
}

/** Sets the clock of a machine that continues from its memory: the clock stood still since the snapshot. */
async function setClock(session: MachineSession, run: Run): Promise<void> {
  const now = String(Math.round(session.ops.now().getTime() / 1000))
  try {
    await runScript(hostOf(session), { what: 'set the clock', script: 'set-clock', values: { now } }, run)
  } catch (error) {
    if (!(error instanceof OpsError) || error.code === 'INTERRUPTED') throw error
    const what = `machine '${session.machine}': its clock may be behind, and could not be set: ${messageOf(error)}`
    say(session.ops, what)
  }
}

/** Records the boot id and the closure that the machine itself reports. */
async function readTruth(session: MachineSession, run: Run): Promise<void> {
  const { machine, ops } = session
  const { os } = recordOf(session)
  const { facts, profile } = await systemOf({ os, name: machine }).survey(hostOf(session), run)
  const path = StorePath.safeParse(profile)
  const at = ops.now().toISOString()
  await updateJob(session, (draft) => {
    draft.facts = { ...facts, nixVersion: draft.tasks.nix?.outputs.version, seenAt: at }
    if (!path.success) draft.deployed = undefined
    else if (draft.deployed?.path !== path.data)
      draft.deployed = { path: path.data, at, run: ops.operator.run, files: {}, units: {} }
  })
}
