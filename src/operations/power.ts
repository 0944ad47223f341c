import type { Ops } from '../core/context.js'
import { usageError } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import type { MachineName } from '../core/names.js'
import type { Run } from '../core/run.js'
import type { DeploymentSession } from '../core/session.js'
import {
  type DrainChoice,
  drainFirst,
  giveJobsBack,
  inUseAfterFailure,
  isAwaited,
  resumeBuildersOf,
  resumeOrSay,
} from '../deploy/drain.js'
import { bootMs, connect, waitAndConnect } from '../machine/connect.js'
import { startResource } from '../machine/lifecycle.js'
import {
  type MachineSession,
  recordedMachine,
  recordOf,
  resourceFor,
  updateJob,
  withLink,
} from '../machine/machine.js'
import { rebootMachine } from '../machine/reboot.js'
import { type OnMachines, onMachines } from './on-machines.js'
import { type NetworkOnce, networkOnce, sendKeysTo } from './send-keys.js'

export type PowerRequest = Omit<OnMachines, 'verb'>

/** Request to stop or reboot machines; builders among them are drained first. */
export interface DownRequest extends PowerRequest {
  readonly drain?: DrainChoice | undefined
}

/** Starts machines and waits until they answer; sends keys in /run again. */
export function startMachines(ops: Ops, request: PowerRequest): Promise<MachineResult[]> {
  const network = networkOnce(ops)
  return onMachines(ops, { ...request, verb: 'start' }, async (deployment, machine, run) => {
    const session = madeMachine(ops, deployment, machine, run)
    const observation = await session.provider.inspect(await resourceFor(session), run)
    if (observation.kind === 'running') return isAwaited(session) && (await resumeOrSay(session))
    await startResource(session)
    await withLink(session, async () => {
      await waitAndConnect(session, bootMs)
      await resendVolatileKeys(session, network)
      await resumeOrSay(session)
      await resumeBuildersOf(session)
    })
    return true
  })
}

/** Asks machines to shut down, waits `graceMs`, then cuts their power. */
export function stopMachines(ops: Ops, request: DownRequest & { graceMs: number }): Promise<MachineResult[]> {
  return onMachines(ops, { ...request, verb: 'stop' }, async (deployment, machine, run, selected) => {
    const session = madeMachine(ops, deployment, machine, run)
    const resource = await resourceFor(session)
    const observation = await session.provider.inspect(resource, run)
    if (observation.kind === 'stopped' || observation.kind === 'absent') return false
    await inUseAfterFailure(session, async () => {
      await withLink(session, () => drainFirst(session, request.drain, { how: 'stopped', with: selected }))
      await session.provider.stop(resource, { graceMs: request.graceMs }, run)
    })
    await updateJob(session, (draft) => Object.assign(draft, { stoppedOnPurpose: true }))
    return true
  })
}

/** Reboots machines from inside, and waits until the boot id changes. */
export function rebootMachines(
  ops: Ops,
  request: DownRequest & { hard?: boolean },
): Promise<MachineResult[]> {
  const network = networkOnce(ops)
  return onMachines(ops, { ...request, verb: 'reboot' }, async (deployment, machine, run) => {
    const session = madeMachine(ops, deployment, machine, run)
    const reboot = async () => {
      await connect(session)
      await drainFirst(session, request.drain, { how: 'rebooted' })
      await rebootMachine(session, { hard: request.hard === true })
      await resendVolatileKeys(session, network)
      await giveJobsBack(session)
    }
    await withLink(session, () => inUseAfterFailure(session, reboot))
    return true
  })
}

/** Begins a session with a created machine, and refuses a machine that does not exist yet. */
export function madeMachine(
  ops: Ops,
  deployment: DeploymentSession,
  machine: MachineName,
  run: Run,
): MachineSession {
  const session = recordedMachine(ops, deployment, machine, run)
  if (recordOf(session).handle === undefined) {
    throw usageError(`machine '${machine}' does not exist yet`, { machine, hint: 'hydra-ops deploy' })
  }
  return session
}

/** Sends keys in /run again, because a boot removes them. */
export async function resendVolatileKeys(session: MachineSession, network: NetworkOnce): Promise<void> {
  if (!Object.values(recordOf(session).keys).some((path) => path.startsWith('/run/'))) return
  await sendKeysTo(session, network)
}
