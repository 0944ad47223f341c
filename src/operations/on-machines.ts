import pLimit from 'p-limit'
import type { Ops, RunLogs } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { messageOf } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import type { MachineName } from '../core/names.js'
import type { Run } from '../core/run.js'
import type { DeploymentSession } from '../core/session.js'
import { settleAll } from '../core/settle.js'
import { explained } from '../machine/explain-failure.js'
import { failedResult, secondsSince } from '../machine/finish.js'
import { machineRun } from '../machine/machine.js'
import { selectRecordedMachines } from '../network/select-by-tag.js'
import type { Selection } from '../network/selection.js'

export interface OnMachines {
  readonly deployment: string | undefined
  readonly selection: Selection
  readonly maxConcurrent: number
  /** Verb for the journal: `stop`, `reboot` … */
  readonly verb: string
  /** Divides the machines into groups that run one after another; all machines are one group by default. */
  readonly groups?: (
    record: DeploymentRecord,
    machines: readonly MachineName[],
  ) => readonly (readonly MachineName[])[]
}

/** Reason why a machine was left unchanged. */
export interface Unchanged {
  readonly unchanged: string
}

/** Action on one of the selected machines. */
type OnMachine = (
  deployment: DeploymentSession,
  machine: MachineName,
  run: Run,
  selected: readonly MachineName[],
) => Promise<boolean | Unchanged>

/**
 * Runs one action for every selected machine of the state, at most `maxConcurrent` at once, as the only writer. A
 * failure of one machine does not stop the other machines. `action` returns whether the machine changed, or why it
 * did not.
 */
export async function onMachines(ops: Ops, request: OnMachines, action: OnMachine): Promise<MachineResult[]> {
  const { uuid } = await ops.store.resolve(request.deployment)
  return ops.store.lock(uuid, async (deployment) => {
    const quiet: Run = { signal: ops.signal, log: () => {} }
    const machines = await selectRecordedMachines(ops, deployment.record, request.selection, quiet)
    if (machines.length === 0) return []
    const logs = ops.logs(deployment.paths.logs)
    const limit = pLimit(request.maxConcurrent)
    await deployment.journal({ event: `${request.verb}.begin`, data: machines })
    try {
      const results: MachineResult[] = []
      for (const group of request.groups?.(deployment.record, machines) ?? [machines])
        results.push(
          ...(await settleAll(
            group.map((machine) =>
              limit(() => one(ops, deployment, logs, machine, (...of) => action(...of, machines))),
            ),
          )),
        )
      await deployment.journal({ event: `${request.verb}.end`, result: summary(results) })
      return results
    } catch (error) {
      await deployment.journal({ event: `${request.verb}.end`, result: messageOf(error) })
      throw error
    } finally {
      logs.close()
    }
  })
}

async function one(
  ops: Ops,
  deployment: DeploymentSession,
  logs: RunLogs,
  machine: MachineName,
  action: (deployment: DeploymentSession, machine: MachineName, run: Run) => Promise<boolean | Unchanged>,
): Promise<MachineResult> {
  const start = Date.now()
  let result: MachineResult
  try {
    const changed = await action(deployment, machine, machineRun(ops, machine, logs))
    const ended = { machine, seconds: secondsSince(start) }
    result =
      typeof changed === 'boolean'
        ? { ...ended, outcome: changed ? 'changed' : 'unchanged' }
        : { ...ended, outcome: 'unchanged', reason: changed.unchanged }
  } catch (error) {
    const why = await explained(ops, error, deployment.record.machines[machine]?.provider)
    result = failedResult(machine, undefined, secondsSince(start), why, logs.tail(machine, 10))
  }
  ops.events.emit({ kind: 'done', machine, result })
  return result
}

function summary(results: readonly MachineResult[]): string {
  const failed = results.filter((result) => result.outcome === 'failed').length
  return failed === 0 ? 'done' : `failed on ${failed} of ${results.length} machines`
}
