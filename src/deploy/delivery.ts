import type { TaskRecord } from '../core/deployment.js'
import type { TaskStage, WantedTask } from '../core/setup-task.js'
import { hostOf } from '../machine/connect.js'
import { journal, updateJob } from '../machine/machine.js'
import type { Activated } from '../systems/system.js'
import { runTasks, type TaskResult, tasksFailure } from '../tasks/engine.js'
import { aloneOnMachine } from '../tasks/machine-lock.js'
import type { Job } from './job.js'
import { type MachineState, taskContext } from './look.js'
import { refuseMachine } from './refuse-machine.js'

type Unjudged = Extract<Activated, { kind: 'unjudged' }>

/** Installs what the system lacks before the first task runs; returns whether anything was installed. */
export async function bootstrap(job: Job, { survey, system }: MachineState): Promise<boolean> {
  if (system.missing.length === 0) return false
  refuseMachine(job, survey)
  const installed = await system.bootstrap(job)
  if (installed) job.changed = true
  return installed
}

/** Runs the due set-up tasks of one stage; returns whether any task ran. */
export async function deliverTasks(
  job: Job,
  stage: TaskStage,
  look: MachineState,
  options: {
    readonly redo?: ReadonlySet<string>
    /** Preceding activation, if it left something for these tasks. */
    readonly unjudged?: Unjudged | undefined
  } = {},
): Promise<boolean> {
  const { redo = new Set() } = options
  const due = look.tasks.filter(
    ({ task, why }) => task.stage === stage && (why !== undefined || redo.has(task.id)),
  )
  if (due.length === 0) return false
  refuseMachine(job, look.survey)
  const context = await taskContext(job, redo)
  const results = await aloneOnMachine(job, () =>
    runTasks(
      hostOf(job),
      due.map(({ task }) => task),
      {
        ...context,
        onBegin: (task, record) => recordTask(job, task, record),
        onDone: async (task, record) => {
          await recordTask(job, task, record)
          await journal(job, 'task.done', { data: task.id })
        },
      },
    ),
  )
  if (results.some((result) => result.kind === 'done')) job.changed = true
  refuseFailed(job, results, options.unjudged)
  return results.some((result) => result.kind === 'done')
}

function recordTask(job: Job, { id }: WantedTask, record: TaskRecord): Promise<void> {
  return updateJob(job, (draft) => {
    draft.tasks[id] = record
  })
}

function refuseFailed(job: Job, results: readonly TaskResult[], unjudged: Unjudged | undefined): void {
  const failed = results.flatMap((result) => (result.kind === 'failed' ? [result] : []))
  if (failed.length === 0) return
  const skipped = results.flatMap((result) => (result.kind === 'skipped' ? [result.id] : []))
  throw tasksFailure(job.machine, 'set-up failed', failed, {
    also: [
      ...(skipped.length === 0
        ? []
        : [`not started, because they depend on a failed task: ${skipped.join(', ')}`]),
      ...(unjudged === undefined ? [] : unjudged.left),
    ],
    evidence: unjudged?.journal ?? [],
    hint: `hydra-ops logs ${job.machine}`,
  })
}
