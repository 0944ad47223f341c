import type { Ops, RunLogs } from '../../core/context.js'
import type { MachineResult } from '../../core/events.js'
import type { MachineName } from '../../core/names.js'
import { destroyMachine } from '../destroy.js'
import { failedResult, secondsSince } from './finish.js'
import { machineRun } from './job.js'
import type { Session } from './session.js'

/** Destroys machines that left the network, one after the other; one that cannot be destroyed stops none of the others. */
export async function killObsolete(
  ops: Ops,
  session: Session,
  machines: readonly MachineName[],
  logs: RunLogs | undefined,
): Promise<MachineResult[]> {
  const results: MachineResult[] = []
  for (const machine of machines) {
    const start = Date.now()
    session.commit(machine)
    try {
      await destroyMachine(ops, session, machine, machineRun(ops, machine, logs))
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
