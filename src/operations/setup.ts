import pLimit from 'p-limit'
import { isForOperator } from '../core/builder-options.js'
import type { Ops } from '../core/context.js'
import type { MachineDefinition, NetworkDefinition } from '../core/definition.js'
import { messageOf, OpsError, usageError } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import type { SetupRow } from '../core/reports.js'
import type { Run } from '../core/run.js'
import type { DeploymentSession } from '../core/session.js'
import { settleAll } from '../core/settle.js'
import { joinStages } from '../core/setup-task.js'
import { severalErrors } from '../core/several-errors.js'
import { suggest } from '../core/suggest.js'
import { bootstrap, deliverTasks } from '../deploy/delivery.js'
import { type Job, newJob } from '../deploy/job.js'
import { lookAt, taskContext, wantedTasks } from '../deploy/look.js'
import { lookToChange } from '../deploy/refuse-machine.js'
import { type DeployRequest, plainDeploy } from '../deploy/request.js'
import { connect, hostOf } from '../machine/connect.js'
import { closeJob } from '../machine/machine.js'
import { ensureBuilderKey } from '../machine/operator-builders.js'
import { dryRunSession } from '../machine/session.js'
import { definitionIn, evaluateShape, withTaskFacts } from '../network/evaluate.js'
import { machinesIn, type Selection, selectMachines } from '../network/selection.js'
import { leftOverNote, type TaskStatus, verifyTasks } from '../tasks/engine.js'
import { onMachines } from './on-machines.js'
import { networkOnce } from './send-keys.js'

const deployRequest: DeployRequest = { ...plainDeploy, yes: true }

/** Reports every wanted task of the selected machines, including silent machines (`unknown`). Writes nothing. */
export async function setupStatus(
  ops: Ops,
  request: {
    readonly deployment: string | undefined
    readonly selection: Selection
    readonly maxConcurrent?: number
  },
): Promise<SetupRow[]> {
  const deployment = dryRunSession(ops.files, await ops.store.resolve(request.deployment))
  const run: Run = { signal: ops.signal, log: () => {} }
  const select = (network: NetworkDefinition) => selectMachines(machinesIn(network), request.selection)
  const { network: shape, selected } = await evaluateShape(ops, deployment.record, deployRequest, select, run)
  const network = await withTaskFacts(ops, deployment.record, deployRequest, selected, shape, run)
  const slots = pLimit(request.maxConcurrent ?? deployRequest.maxConcurrent)
  const rows = await settleAll(
    selected.map((name) => slots(() => rowsOf(ops, deployment, network, definitionIn(network, name)))),
  )
  return rows.flat()
}

async function rowsOf(
  ops: Ops,
  deployment: DeploymentSession,
  network: NetworkDefinition,
  definition: MachineDefinition,
): Promise<SetupRow[]> {
  const known = deployment.record.machines[definition.name]
  const job = newJob({ ops, deployment, request: deployRequest, network, definition }, undefined)
  const outputsOf = (task: string) => known?.tasks[task]?.outputs ?? {}
  const all = async (state: SetupRow['state'], detail: string): Promise<SetupRow[]> =>
    (await wantedTasks(job)).map((task) => ({
      machine: job.machine,
      task: task.id,
      state,
      detail,
      outputs: outputsOf(task.id),
    }))
  if (known?.handle === undefined) return all('needed', 'the machine has not been created yet')
  try {
    await connect(job)
    const { tasks } = await lookAt(job)
    return tasks.map((status) => ({
      machine: job.machine,
      task: status.task.id,
      state: stateOf(status, known.tasks[status.task.id] !== undefined),
      detail: detailOf(status),
      outputs: outputsOf(status.task.id),
    }))
  } catch (error) {
    if (error instanceof OpsError && error.code === 'INTERRUPTED') throw error
    return await all('unknown', messageOf(error))
  } finally {
    closeJob(job)
  }
}

/** Returns the reason to run, and the things that only `--prune` removes. */
function detailOf({ why, leftOver }: TaskStatus): string | undefined {
  const parts = [why ?? [], leftOver === undefined ? [] : leftOverNote(leftOver)].flat()
  return parts.length === 0 ? undefined : parts.join('; ')
}

function stateOf({ why, unread }: TaskStatus, recorded: boolean): SetupRow['state'] {
  if (why === undefined) return 'done'
  if (unread === true) return 'unknown'
  return recorded ? 'drifted' : 'needed'
}

/**
 * Runs one task, with the packages that it needs, on the selected machines that want the task. `redo` runs the task
 * in every state. A task that no machine wants is an error.
 */
export async function runSetup(
  ops: Ops,
  request: {
    readonly deployment: string | undefined
    readonly selection: Selection
    readonly task: string
    readonly redo: boolean
    readonly prune?: boolean
    readonly maxConcurrent?: number
  },
): Promise<MachineResult[]> {
  const network = networkOnce(ops)
  const how = {
    ...request,
    maxConcurrent: request.maxConcurrent ?? deployRequest.maxConcurrent,
    verb: 'setup',
  }
  const refusals: OpsError[] = []
  let wanting = 0
  const results = await onMachines(ops, how, async (deployment, machine, run) => {
    const all = await network(deployment, run)
    const definition = definitionIn(all, machine)
    const base = {
      ops,
      deployment,
      request: { ...deployRequest, prune: request.prune ?? false },
      network: all,
      definition,
    }
    const job: Job = { ...newJob(base, undefined), run }
    const refusal = await unwantedTask(job, request.task)
    if (refusal !== undefined) {
      refusals.push(refusal)
      run.log(refusal.message)
      return false
    }
    wanting += 1
    if (isForOperator(definition.options.builder)) await ensureBuilderKey(ops, deployment.record, run)
    try {
      await connect(job)
      const look = await lookToChange(job)
      const only = { ...look, tasks: look.tasks.filter(({ task }) => task.id === request.task) }
      await bootstrap(job, look)
      const redo = new Set(request.redo ? [request.task] : [])
      for (const stage of ['bootstrap', 'configure', ...joinStages] as const)
        await deliverTasks(job, stage, only, { redo })
      return job.changed
    } finally {
      closeJob(job)
    }
  })
  if (wanting === 0 && refusals.length > 0) throw severalErrors(refusals)
  return results
}

/**
 * Verifies every wanted task of the selected machines, or one task, from outside. Changes nothing except what a proof
 * leaves behind.
 */
export function verifySetup(
  ops: Ops,
  request: {
    readonly deployment: string | undefined
    readonly selection: Selection
    /** The only task to verify; all wanted tasks if absent. */
    readonly task?: string
    readonly maxConcurrent?: number
  },
): Promise<MachineResult[]> {
  const network = networkOnce(ops)
  const how = {
    ...request,
    maxConcurrent: request.maxConcurrent ?? deployRequest.maxConcurrent,
    verb: 'setup',
  }
  return onMachines(ops, how, async (deployment, machine, run) => {
    const all = await network(deployment, run)
    const definition = definitionIn(all, machine)
    const base = { ops, deployment, request: deployRequest, network: all, definition }
    const job: Job = { ...newJob(base, undefined), run }
    try {
      await connect(job)
      const tasks = (await wantedTasks(job)).filter(({ id }) => (request.task ?? id) === id)
      await verifyTasks(hostOf(job), tasks, await taskContext(job))
      return false
    } finally {
      closeJob(job)
    }
  })
}

async function unwantedTask(job: Job, task: string): Promise<OpsError | undefined> {
  const wanted = await wantedTasks(job)
  const ids = wanted.map(({ id }) => id)
  if (ids.includes(task)) return undefined
  const renamed = wanted.find(({ formerly = [] }) => formerly.includes(task))
  const close = suggest(task, ids)
  return usageError(`machine '${job.machine}' has no set-up task '${task}'`, {
    machine: job.machine,
    hint:
      renamed !== undefined
        ? `the task has the new name '${renamed.id}': hydra-ops setup run ${renamed.id}`
        : close === undefined
          ? whatIsWanted(job.machine, ids)
          : `did you mean '${close}'?`,
  })
}

function whatIsWanted(machine: string, ids: readonly string[]): string {
  return ids.length === 0
    ? `machine '${machine}' has no set-up task`
    : `the tasks of machine '${machine}' are: ${ids.join(', ')}`
}
