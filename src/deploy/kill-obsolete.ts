import type { Ops, RunLogs } from '../core/context.js'
import type { MachineResult } from '../core/events.js'
import type { MachineName } from '../core/names.js'
import type { DeploymentSession } from '../core/session.js'
import { failedResult, secondsSince } from '../machine/finish.js'
import { machineRun, recordedMachine } from '../machine/machine.js'
import { destroyMachine, endsByDestroy } from './destroy-machine.js'
import { type DrainChoice, drainIfRunning, inUseAfterFailure } from './drain.js'

/** Destroys machines that left the network, one after another; a failure does not stop the work on other machines. */
export async function killObsolete(
  ops: Ops,
  deployment: DeploymentSession,
  machines: readonly MachineName[],
  { drain, logs }: { readonly drain: DrainChoice | undefined; readonly logs: RunLogs | undefined },
): Promise<MachineResult[]> {
  const results: MachineResult[] = []
  for (const machine of machines) {
    const start = Date.now()
    await deployment.commit(machine)
    try {
      const run = machineRun(ops, machine, logs)
      const session = recordedMachine(ops, deployment, machine, run)
      await inUseAfterFailure(session, async () => {
        if (endsByDestroy(session)) await drainIfRunning(session, drain, { how: 'destroyed', with: machines })
        await destroyMachine(ops, deployment, machine, run)
      })
      results.push({
        machine,
        outcome: 'changed',
        seconds: secondsSince(start),
        reason: 'destroyed: obsolete',
      })
    } catch (error) {
      results.push(failedResult(machine, 'create', secondsSince(start), error, []))
    }
  }
  return results
}
