import pLimit from 'p-limit'
import type { RunLogs } from '../core/context.js'
import { throwIfAborted } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import type { MachineName } from '../core/names.js'
import { restEvery } from '../core/rest.js'
import { settleAll } from '../core/settle.js'
import { joinStages, type TaskStage } from '../core/setup-task.js'
import { connect, waitAndConnect } from '../machine/connect.js'
import { explained } from '../machine/explain-failure.js'
import { failedResult, secondsSince } from '../machine/finish.js'
import { closeJob } from '../machine/machine.js'
import { reasonByRecord } from '../tasks/engine.js'
import type { AssessedMachine } from './build-everything.js'
import { deliverTasks } from './delivery.js'
import { isAwaited, lacksOffer, resumeBuildersOf, sayStaysDrained } from './drain.js'
import { enter, type Job } from './job.js'
import { taskContext, wantedTasks } from './look.js'
import { lookToChange } from './refuse-machine.js'

/** Deadline for a machine's answer; the machine was deployed in this run. */
const reachMs = 120_000

/**
 * Runs the set-up tasks that need other machines, after every machine was deployed by itself. A failed machine takes no
 * part. A machine without due tasks is not contacted again. Returns the results of the whole deploy.
 */
export async function joinMachines(
  items: readonly AssessedMachine[],
  results: readonly MachineResult[],
  { limit, logs }: { readonly limit: number; readonly logs: RunLogs | undefined },
): Promise<MachineResult[]> {
  const ended = new Map(results.map((result) => [result.machine, result]))
  const slots = pLimit(limit)
  const rest = restEvery()
  const withoutOffer = items.filter(({ job }) => lacksOffer(job))
  for (const stage of joinStages) {
    const whole = items.filter(({ job }) => isWhole(job, ended))
    await settleAll(
      whole.map((item) =>
        slots(async () => {
          await rest()
          throwIfAborted(item.job.ops.signal)
          const result = await join(item, stage, logs)
          const before = ended.get(item.job.machine)
          if (result !== undefined && before !== undefined)
            ended.set(item.job.machine, merged(before, result))
        }),
      ),
    )
  }
  // Only the user machine gives the jobs back, and this deploy might not select the user machine.
  for (const { job } of withoutOffer)
    if (isWhole(job, ended) && isAwaited(job) && !lacksOffer(job)) sayStaysDrained(job)
  return results.map((result) => ended.get(result.machine) ?? result)
}

/** Returns whether a machine matches the expression, so that other machines may rely on it. */
function isWhole({ machine, request }: Job, ended: ReadonlyMap<MachineName, MachineResult>): boolean {
  const outcome = ended.get(machine)?.outcome
  const complete = request.until === undefined && request.mode === 'switch'
  return complete && (outcome === 'changed' || outcome === 'unchanged')
}

/** Merges two results of a machine: adds the times, and reports a change in either stage. */
function merged(before: MachineResult, after: MachineResult): MachineResult {
  const outcome = after.outcome === 'unchanged' ? before.outcome : after.outcome
  return { ...after, outcome, seconds: Math.round((before.seconds + after.seconds) * 10) / 10 }
}

async function join(
  { job, seen }: AssessedMachine,
  stage: TaskStage,
  logs: RunLogs | undefined,
): Promise<MachineResult | undefined> {
  const start = Date.now()
  const { machine } = job
  try {
    // The task verifies a builder that has its jobs, but not a drained builder.
    if (stage === 'use') await resumeBuildersOf(job)
    if (!(await isDue(job, stage, seen))) return undefined
    enter(job, 'setup', 'tasks that need other machines')
    job.changed = false
    if (job.provider.makesMachines) await waitAndConnect(job, reachMs)
    else await connect(job)
    await deliverTasks(job, stage, await lookToChange(job))
    // The task may find the drain mark of a builder that the state did not list as drained.
    if (stage === 'use') await resumeBuildersOf(job)
    return { machine, outcome: job.changed ? 'changed' : 'unchanged', seconds: secondsSince(start) }
  } catch (error) {
    const why = await explained(job.ops, error, job.provider.name)
    return failedResult(machine, job.at, secondsSince(start), why, logs?.tail(machine, 10) ?? [])
  } finally {
    closeJob(job)
  }
}

/** Returns whether a stage has work on the machine, according to the records and the run's first look. */
async function isDue(job: Job, stage: TaskStage, seen: AssessedMachine['seen']): Promise<boolean> {
  const tasks = (await wantedTasks(job)).filter((task) => task.stage === stage)
  if (tasks.length === 0) return false
  const context = await taskContext(job)
  return tasks.some((task) => {
    if (reasonByRecord(task, context) !== undefined) return true
    const status = seen.look?.tasks.find((each) => each.task.id === task.id)
    // A task without a status was not wanted at the first look, and its record may be outdated.
    return status === undefined || status.why !== undefined
  })
}
