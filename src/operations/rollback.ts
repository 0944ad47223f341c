import pLimit from 'p-limit'
import type { Ops } from '../core/context.js'
import { exitCodes, failure, messageOf, OpsError, throwIfAborted, usageError } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import type { MachineName, StorePath } from '../core/names.js'
import type { MachinePlan, Plan } from '../core/plan.js'
import type { Run } from '../core/run.js'
import type { DeploymentSession } from '../core/session.js'
import { settleAll } from '../core/settle.js'
import { type DrainChoice, drainFirst, giveJobsBack, inUseAfterFailure } from '../deploy/drain.js'
import { refuseOtherOwner } from '../deploy/refuse-machine.js'
import { connect, hostOf } from '../machine/connect.js'
import { type MachineSession, recordedMachine, recordOf, updateJob, withLink } from '../machine/machine.js'
import { rebootMachine } from '../machine/reboot.js'
import { dryRunSession } from '../machine/session.js'
import { selectRecordedMachines } from '../network/select-by-tag.js'
import type { Selection } from '../network/selection.js'
import type { OnDegraded, Survey, System } from '../systems/system.js'
import { systemOf } from '../systems/systems.js'
import { aloneOnMachine } from '../tasks/machine-lock.js'
import { onMachines, type Unchanged } from './on-machines.js'
import { resendVolatileKeys } from './power.js'
import { type NetworkOnce, networkOnce } from './send-keys.js'

export type { OnDegraded } from '../systems/system.js'

export interface RollbackRequest {
  readonly deployment: string | undefined
  readonly selection: Selection
  readonly maxConcurrent: number
  readonly yes: boolean
  readonly allowReboot: boolean
  readonly onDegraded: OnDegraded | undefined
  readonly confirmSeconds: number
  /** Drain choice for a builder that has to reboot. */
  readonly drain?: DrainChoice | undefined
  /** Receives the plan once, before anything is touched. */
  onPlan(plan: Plan): void
}

/** Rollback of one machine to its earlier system, or the reason why the machine has none. */
type Way = { readonly machine: MachineName } & (
  | { readonly to: StorePath; readonly from: StorePath | undefined }
  | { readonly why: unknown }
)

/**
 * Returns each machine to its previous system, with the guard and the confirmation of a deploy. Shows a plan and asks
 * first.
 */
export async function rollbackMachines(ops: Ops, request: RollbackRequest): Promise<MachineResult[]> {
  const record = await ops.store.resolve(request.deployment)
  const quiet: Run = { signal: ops.signal, log: () => {} }
  const machines = await selectRecordedMachines(ops, record, request.selection, quiet)
  const slots = pLimit(request.maxConcurrent)
  const looking = dryRunSession(ops.files, record)
  const ways = await settleAll(machines.map((machine) => slots(() => wayOf(ops, looking, machine, quiet))))
  request.onPlan({ machines: ways.map(planOf), disruptive: true })
  const possible = ways.flatMap((way) => ('to' in way ? [way.machine] : []))
  if (possible.length > 0 && !request.yes) {
    const sure = await ops.questions.confirm(`go back on ${possible.join(', ')}?`)
    if (!sure) throw new OpsError('REFUSED', exitCodes.failed, 'nothing was changed')
  }
  // The selection is fixed here, so that it excludes machines created in the meantime.
  const how = { ...request, selection: { include: machines }, verb: 'rollback' }
  const network = networkOnce(ops)
  return onMachines(ops, how, async (deployment, machine, run) => {
    const way = ways.find((each) => each.machine === machine)
    if (way === undefined || !('to' in way)) throw way?.why
    const session = recordedMachine(ops, deployment, machine, run)
    return inUseAfterFailure(session, () => rollbackOne(session, way.to, request, network))
  })
}

async function wayOf(ops: Ops, deployment: DeploymentSession, machine: MachineName, run: Run): Promise<Way> {
  try {
    const session = recordedMachine(ops, deployment, machine, run)
    return await withLink(session, async () => {
      const system = systemFor(session)
      await connect(session)
      const survey = await lookToGoBack(session, system)
      if (survey.previous === undefined) throw noWayBack(session)
      return { machine, to: survey.previous, from: survey.running }
    })
  } catch (why) {
    if (why instanceof OpsError && why.code === 'INTERRUPTED') throw why
    return { machine, why }
  }
}

function planOf(way: Way): MachinePlan {
  if (!('to' in way)) return { machine: way.machine, items: [], unknown: messageOf(way.why) }
  const detail = way.from === undefined || way.from === way.to ? way.to : `${way.to} instead of ${way.from}`
  return { machine: way.machine, items: [{ subject: 'system', action: 'activate', detail }] }
}

async function rollbackOne(
  session: MachineSession,
  to: StorePath,
  request: RollbackRequest,
  network: NetworkOnce,
): Promise<boolean | Unchanged> {
  const { ops } = session
  const system = systemFor(session)
  return withLink(session, async () => {
    await connect(session)
    await system.reattach(session)
    const survey = await lookToGoBack(session, system)
    if (survey.profile === to && survey.running === to)
      return { unchanged: 'the machine already runs its earlier system' }
    const { onDegraded, confirmSeconds } = request
    const options = { always: false, beforeTasks: false, again: false, onDegraded, confirmSeconds }
    const { kept, degraded } = await aloneOnMachine(session, async () => {
      const { trial, ...activated } = await system.activate(session, to, options)
      return { kept: await trial?.keep(), ...activated }
    })
    await updateJob(session, (draft) => {
      const { run: id } = ops.operator
      draft.deployed = { path: to, at: ops.now().toISOString(), run: id, files: {}, units: {} }
    })
    if (degraded !== undefined) throw degraded
    if (kept?.rebootReason !== undefined) await rebootAfter(session, kept.rebootReason, request, network)
    return true
  })
}

async function rebootAfter(
  session: MachineSession,
  reason: string,
  { allowReboot, drain }: RollbackRequest,
  network: NetworkOnce,
): Promise<void> {
  const { machine } = session
  if (allowReboot) {
    await drainFirst(session, drain, { how: 'rebooted' }).catch((error: unknown) => {
      throwIfAborted(session.run.signal)
      throw notRebooted(machine, error)
    })
    await rebootMachine(session)
    await resendVolatileKeys(session, network)
    await giveJobsBack(session)
    return
  }
  const text = `machine '${machine}': ${reason}; hydra-ops reboot --include ${machine} reboots the machine`
  session.ops.events.emit({ kind: 'notice', text })
}

/** Describes a rollback that succeeded except for the reboot. A second rollback would return to the newer system. */
function notRebooted(machine: MachineName, error: unknown): Error {
  return failure(
    'REBOOT',
    `machine '${machine}' went back to its earlier system, but was not rebooted: ${messageOf(error)}`,
    {
      machine,
      cause: error,
      hint: `hydra-ops reboot --include ${machine} boots the earlier system; --drain-deadline waits longer, and --no-drain does not wait for builds`,
    },
  )
}

async function lookToGoBack(session: MachineSession, system: System): Promise<Survey> {
  const survey = await system.survey(hostOf(session), session.run)
  system.refuseOther(session, survey)
  refuseOtherOwner(session, system, survey)
  return survey
}

function systemFor(session: MachineSession): System {
  const { machine } = session
  const system = systemOf({ os: recordOf(session).os, name: machine })
  if (system.goesBack) return system
  throw usageError(`machine '${machine}' is not a NixOS machine, so it has no earlier system to go back to`, {
    machine,
    hint: 'deploy an earlier network expression, or restore a snapshot: hydra-ops snapshot restore',
  })
}

function noWayBack({ machine }: MachineSession): OpsError {
  return failure('NO_WAY_BACK', `machine '${machine}' has no earlier system that hydra-ops replaced`, {
    machine,
    hint: 'hydra-ops records the earlier system when it first switches a machine; deploy a generation of your own with --closure',
  })
}
