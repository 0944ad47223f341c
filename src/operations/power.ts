import type { Ops } from '../core/context.js'
import { usageError } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import type { MachineName } from '../core/names.js'
import type { Run } from '../core/run.js'
import { startResource } from './deploy/create.js'
import { type Link, newLink, recordOf, resourceFor, updateJob, withLink } from './deploy/job.js'
import { bootMs, connect, waitAndConnect } from './deploy/reach.js'
import { rebootMachine } from './deploy/reboot.js'
import type { Session } from './deploy/session.js'
import { type OnMachines, onMachines } from './on-machines.js'
import { type NetworkOnce, networkOnce, sendKeysTo } from './send-keys.js'

export type PowerRequest = Omit<OnMachines, 'verb'>

/** Starts machines and waits until they answer; keys that lived in /run are sent again. */
export function startMachines(ops: Ops, request: PowerRequest): Promise<MachineResult[]> {
  const network = networkOnce(ops)
  return onMachines(ops, { ...request, verb: 'start' }, async (session, machine, run) => {
    const link = existing(ops, session, machine, run)
    const observation = await link.provider.inspect(await resourceFor(link), run)
    if (observation.kind === 'running') return false
    await startResource(link)
    await withLink(link, async () => {
      await waitAndConnect(link, bootMs)
      await resendVolatileKeys(link, network)
    })
    return true
  })
}

/** Asks machines to shut down, waits `graceMs`, then cuts their power. */
export function stopMachines(
  ops: Ops,
  request: PowerRequest & { graceMs: number },
): Promise<MachineResult[]> {
  return onMachines(ops, { ...request, verb: 'stop' }, async (session, machine, run) => {
    const link = existing(ops, session, machine, run)
    const resource = await resourceFor(link)
    const observation = await link.provider.inspect(resource, run)
    if (observation.kind === 'stopped' || observation.kind === 'absent') return false
    await link.provider.stop(resource, { graceMs: request.graceMs }, run)
    updateJob(link, (draft) => Object.assign(draft, { stoppedOnPurpose: true }))
    return true
  })
}

/** Reboots machines from inside; done when the boot id has changed. */
export function rebootMachines(
  ops: Ops,
  request: PowerRequest & { hard?: boolean },
): Promise<MachineResult[]> {
  const network = networkOnce(ops)
  return onMachines(ops, { ...request, verb: 'reboot' }, async (session, machine, run) => {
    const link = existing(ops, session, machine, run)
    await withLink(link, async () => {
      await connect(link)
      await rebootMachine(link, { hard: request.hard === true })
      await resendVolatileKeys(link, network)
    })
    return true
  })
}

function existing(ops: Ops, session: Session, machine: MachineName, run: Run): Link {
  const link = newLink(ops, session, machine, run)
  if (recordOf(link).handle === undefined) {
    throw usageError(`machine '${machine}' was never created`, { machine, hint: 'hydra-ops deploy' })
  }
  return link
}

/** Sends again what lay in /run, which is gone after a boot. */
async function resendVolatileKeys(link: Link, network: NetworkOnce): Promise<void> {
  if (!Object.values(recordOf(link).keys).some((path) => path.startsWith('/run/'))) return
  await sendKeysTo(link, network)
}
