import type { TaskRecord } from '../../core/deployment.js'
import { failure, messageOf, OpsError, throwIfInterrupted } from '../../core/errors.js'
import type { TaskId } from '../../core/names.js'
import type { PlanItem } from '../../core/plan.js'
import type { Run } from '../../core/run.js'
import { settleAll } from '../../core/settle.js'
import type { TaskState, WantedTask } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'

export interface TaskContext {
  /** What is recorded of each task of this machine. */
  readonly records: Readonly<Record<TaskId, TaskRecord>>
  /** Tasks to run whatever their state. */
  readonly redo: ReadonlySet<TaskId>
  /** Keyed hash: inputs may hold what must not be guessed from the state. */
  hmac(inputs: string): string
  now(): Date
  readonly run: Run
}

/** Why a task would run; `undefined` = it need not. */
export interface TaskStatus {
  readonly task: WantedTask
  readonly why: string | undefined
}

export type TaskResult = { readonly id: TaskId } & (
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'done'; readonly outputs: Readonly<Record<string, string>> }
  | { readonly kind: 'failed'; readonly error: unknown }
  /** What it depends on failed. */
  | { readonly kind: 'skipped'; readonly because: TaskId }
)

/** Which tasks would run now, and why; for plan and status. Reads the machine, changes nothing. */
export async function probeTasks(
  host: Host,
  tasks: readonly WantedTask[],
  context: TaskContext,
): Promise<TaskStatus[]> {
  return settleAll(
    tasks.map(async (task) => {
      try {
        return { task, why: await reasonToRun(host, task, context) }
      } catch (error) {
        if (error instanceof OpsError && error.code === 'INTERRUPTED') throw error
        return { task, why: `its state cannot be read: ${messageOf(error)}` }
      }
    }),
  )
}

export function planTasks(statuses: readonly TaskStatus[]): PlanItem[] {
  return statuses.flatMap(({ task, why }): PlanItem[] =>
    why === undefined ? [] : [{ subject: 'setup', action: 'run', detail: task.id, note: why }],
  )
}

/**
 * Runs what needs to run, each after what it depends on, the rest at the same time. A failure stops only what
 * depends on it. A task counts as done when it was applied and verified; `onDone` records that at once.
 */
export async function runTasks(
  host: Host,
  tasks: readonly WantedTask[],
  context: TaskContext & { onDone(task: WantedTask, record: TaskRecord): void },
): Promise<TaskResult[]> {
  const started = new Map<TaskId, Promise<TaskResult>>()
  const wanted = new Map(tasks.map((task) => [task.id, task]))
  refuseCycles(wanted)
  const start = (task: WantedTask): Promise<TaskResult> => {
    const known = started.get(task.id)
    if (known !== undefined) return known
    // What is not wanted here is not waited for: another stage ran it, or the machine does without.
    const before = task.after.flatMap((id) => wanted.get(id) ?? []).map(start)
    const result = afterOthers(before, task, () => runTask(host, task, context))
    started.set(task.id, result)
    return result
  }
  const results = await settleAll(tasks.map(start))
  throwIfInterrupted(context.run.signal)
  return results
}

async function afterOthers(
  others: readonly Promise<TaskResult>[],
  task: WantedTask,
  go: () => Promise<TaskResult>,
): Promise<TaskResult> {
  const ended = await settleAll(others)
  const failed = ended.find((result) => result.kind === 'failed' || result.kind === 'skipped')
  return failed === undefined ? go() : { id: task.id, kind: 'skipped', because: failed.id }
}

async function runTask(
  host: Host,
  task: WantedTask,
  context: TaskContext & { onDone(task: WantedTask, record: TaskRecord): void },
): Promise<TaskResult> {
  const run: Run = { ...context.run, log: (line) => context.run.log(`${task.id}: ${line}`) }
  try {
    const why = await reasonToRun(host, task, { ...context, run })
    if (why === undefined) return { id: task.id, kind: 'unchanged' }
    run.log(`${task.title} (${why})`)
    const outputs = await task.apply(host, run)
    await task.verify(host, run)
    context.onDone(task, { inputs: context.hmac(task.inputs), outputs, at: context.now().toISOString() })
    return { id: task.id, kind: 'done', outputs }
  } catch (error) {
    if (error instanceof OpsError && error.code === 'INTERRUPTED') throw error
    run.log(`failed: ${messageOf(error)}`)
    return { id: task.id, kind: 'failed', error }
  }
}

async function reasonToRun(host: Host, task: WantedTask, context: TaskContext): Promise<string | undefined> {
  const state = await task.probe(host, context.run)
  if (context.redo.has(task.id)) return 'asked for'
  if (state !== 'done') return describeState(state)
  return reasonByRecord(task, context)
}

/** Why a task would run by what is recorded of it alone: all there is to go by where the machine is not up. */
export function reasonByRecord(
  task: WantedTask,
  context: Pick<TaskContext, 'records' | 'hmac'>,
): string | undefined {
  const record = context.records[task.id]
  if (record === undefined) return 'not recorded yet'
  return record.inputs === context.hmac(task.inputs) ? undefined : 'its options changed'
}

function describeState(state: Exclude<TaskState, 'done'>): string {
  return state === 'needed' ? 'not done yet' : state.drifted
}

/** A mistake in the tasks themselves, which would otherwise wait for ever. */
function refuseCycles(wanted: ReadonlyMap<TaskId, WantedTask>): void {
  const visit = (id: TaskId, path: readonly TaskId[]): void => {
    if (path.includes(id))
      throw failure('TASK_CYCLE', `set-up tasks wait for each other: ${[...path, id].join(' → ')}`)
    for (const before of wanted.get(id)?.after ?? []) visit(before, [...path, id])
  }
  for (const id of wanted.keys()) visit(id, [])
}
