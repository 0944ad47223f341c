import type { Duplex } from 'node:stream'
import type { Bounds } from '../core/deadline.js'
import type { TaskRecord } from '../core/deployment.js'
import { failure, messageOf, OpsError, throwIfAborted } from '../core/errors.js'
import type { TaskId } from '../core/names.js'
import type { PlanItem } from '../core/plan.js'
import type { Run } from '../core/run.js'
import { settleAll } from '../core/settle.js'
import type { TaskRun, TaskState, WantedTask } from '../core/setup-task.js'
import { severalErrors } from '../core/several-errors.js'
import type { Host } from '../core/ssh.js'
import { secretHashes, type TaskSecrets } from './secrets.js'

export interface TaskContext {
  /** Records of this machine's tasks. */
  readonly records: Readonly<Record<TaskId, TaskRecord>>
  /** Tasks that run even if nothing needs to be done. */
  readonly redo: ReadonlySet<TaskId>
  /** Computes a keyed hash of a task's inputs, because the inputs may hold secrets that the state must not reveal. */
  hmac(inputs: string): string
  readonly secrets: TaskSecrets
  /** Whether the run may replace irreplaceable data with empty data. */
  readonly allowRecreate: boolean
  /** Whether the run removes results of tasks that the options no longer contain. */
  readonly prune: boolean
  /** Implements `TaskRun.connect`. */
  connect(port: number, bounds: Bounds, address?: string): Promise<Duplex>
  now(): Date
  readonly run: Run
}

/** A task with its reason to run; `why` is `undefined` if the task need not run. */
export interface TaskStatus {
  readonly task: WantedTask
  readonly why: string | undefined
  /** Irreplaceable data that was recorded and is now missing, and that a run would replace with empty data. */
  readonly lost?: string | undefined
  /** Leftovers of the task that only `--prune` removes. */
  readonly leftOver?: string | undefined
  /** Whether the task's state could not be read; the task then counts as not done, although it may be done. */
  readonly unread?: boolean
}

export type TaskResult = { readonly id: TaskId } & (
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'done'; readonly outputs: Readonly<Record<string, string>> }
  | { readonly kind: 'failed'; readonly error: unknown }
  /** A task that did not run because an earlier task failed. */
  | { readonly kind: 'skipped'; readonly because: TaskId }
)

/** Finds the tasks that would run now, with the reasons, for plan and status. Changes nothing on the machine. */
export async function probeTasks(
  host: Host,
  tasks: readonly WantedTask[],
  context: TaskContext,
): Promise<TaskStatus[]> {
  return settleAll(
    tasks.map(async (task) => {
      try {
        return { task, ...(await reasonToRun(host, task, context)) }
      } catch (error) {
        if (error instanceof OpsError && error.code === 'INTERRUPTED') throw error
        return { task, why: `the state of the task cannot be read: ${messageOf(error)}`, unread: true }
      }
    }),
  )
}

export function planTasks(
  statuses: readonly TaskStatus[],
  { allowRecreate, prune }: Pick<TaskContext, 'allowRecreate' | 'prune'> = {
    allowRecreate: false,
    prune: false,
  },
): PlanItem[] {
  return statuses.flatMap(({ task, why, lost, leftOver }): PlanItem[] => {
    const gone: PlanItem[] =
      leftOver === undefined
        ? []
        : [{ subject: 'setup', action: 'remove', detail: task.id, note: leftOverNote(leftOver, prune) }]
    if (why === undefined || (prune && why === leftOver)) return gone
    if (lost === undefined) return [{ subject: 'setup', action: 'run', detail: task.id, note: why }, ...gone]
    const note = `${lost} is missing, and its content is lost${allowRecreate ? '' : ' (needs --allow-recreate)'}`
    return [{ subject: 'setup', action: 'recreate', detail: task.id, note }, ...gone]
  })
}

/** Describes leftovers, with the flag that removes them. */
export function leftOverNote(leftOver: string, prune = false): string {
  return prune ? leftOver : `${leftOver} (needs --prune)`
}

/** A context that records the tasks in the state. */
export interface RecordingContext extends TaskContext {
  onBegin(task: WantedTask, record: TaskRecord): Promise<void>
  onDone(task: WantedTask, record: TaskRecord): Promise<void>
}

/**
 * Runs each task that needs a run, after its dependencies; independent tasks run at the same time. A failure stops only
 * the tasks that depend on the failed task. `onBegin` records the traces of a task before the task runs. A task counts
 * as done once it has been applied and verified; `onDone` records the task at once.
 */
export async function runTasks(
  host: Host,
  tasks: readonly WantedTask[],
  context: RecordingContext,
): Promise<TaskResult[]> {
  const started = new Map<TaskId, Promise<TaskResult>>()
  const wanted = new Map(tasks.map((task) => [task.id, task]))
  refuseCycles(wanted)
  const start = (task: WantedTask): Promise<TaskResult> => {
    const known = started.get(task.id)
    if (known !== undefined) return known
    // A task does not wait for a task outside this set. Another stage has run such a task, or the machine does not need
    // the task.
    const before = task.after.flatMap((id) => wanted.get(id) ?? []).map(start)
    const result = afterOthers(before, task, () => runTask(host, task, context))
    started.set(task.id, result)
    return result
  }
  const results = await settleAll(tasks.map(start))
  throwIfAborted(context.run.signal)
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

async function runTask(host: Host, task: WantedTask, context: RecordingContext): Promise<TaskResult> {
  const run: Run = { ...context.run, log: (line) => context.run.log(`${task.id}: ${line}`) }
  try {
    const { why, lost } = await reasonToRun(host, task, { ...context, run })
    if (why === undefined) return { id: task.id, kind: 'unchanged' }
    if (lost !== undefined && !context.allowRecreate) throw gone(host, lost)
    run.log(`${task.title} (${why})`)
    const outputs = await withSecrets(host, task, context, run)
    run.log('done')
    return { id: task.id, kind: 'done', outputs }
  } catch (error) {
    if (error instanceof OpsError && error.code === 'INTERRUPTED') throw error
    run.log(`failed: ${messageOf(error)}`)
    return { id: task.id, kind: 'failed', error }
  }
}

async function withSecrets(
  host: Host,
  task: WantedTask,
  context: RecordingContext,
  run: Run,
): Promise<Record<string, string>> {
  const taskRun = await runOf(task, context, run)
  await recordTraces(task, context)
  const outputs = await task.apply(host, taskRun)
  await task.verify(host, taskRun)
  // The hashes are computed after the task, because a generated secret may not exist before.
  const secrets = await secretHashes(task.secrets, context)
  await context.onDone(task, {
    inputs: context.hmac(task.inputs),
    ...(task.secrets.length === 0 ? {} : { secrets }),
    outputs,
    at: context.now().toISOString(),
  })
  return outputs
}

/**
 * Records the traces of a task that is about to run, unless the record shows traces already. A first record has no
 * inputs, and so never counts as done.
 */
async function recordTraces(task: WantedTask, context: RecordingContext): Promise<void> {
  const before = context.records[task.id]
  const known = before?.outputs ?? {}
  const missing = Object.entries(task.traces ?? {}).filter(
    ([name, value]) => value !== '' && (known[name] ?? '') === '',
  )
  if (missing.length === 0) return
  await context.onBegin(task, {
    ...(before ?? { inputs: '' }),
    outputs: { ...known, ...Object.fromEntries(missing) },
    at: context.now().toISOString(),
  })
}

/** Creates the context of the operator host that one run of a task receives. */
async function runOf(task: WantedTask, context: TaskContext, run: Run): Promise<TaskRun> {
  const recorded = context.records[task.id]?.secrets ?? {}
  const now = await secretHashes(task.secrets, context)
  return {
    ...run,
    secret: (name) => {
      const need = task.secrets.find((each) => each.name === name)
      if (need === undefined) throw new Error(`task ${task.id} did not name the secret ${name}`)
      return context.secrets.read(need)
    },
    secretChanged: (name) => recorded[name] === undefined || recorded[name] !== now[name],
    prune: context.prune,
    connect: (port, bounds, address) => context.connect(port, bounds, address),
  }
}

function gone(host: Host, lost: string): Error {
  return failure('LOST', `machine '${host.machine}': ${lost} existed, and is now missing`, {
    machine: host.machine,
    hint: `restore ${lost} from a backup; or run hydra-ops deploy --allow-recreate, which creates an empty one`,
  })
}

/** Finds a reason to run in the record alone; a machine that is down offers no other source. */
export function reasonByRecord(
  task: WantedTask,
  context: Pick<TaskContext, 'records' | 'hmac'>,
): string | undefined {
  const record = context.records[task.id]
  if (record === undefined || record.inputs === '') return 'not recorded yet'
  return record.inputs === context.hmac(task.inputs) ? undefined : 'its options changed'
}

/** Verifies each task, one after the other, and throws one error with all failures. */
export async function verifyTasks(
  host: Host,
  tasks: readonly WantedTask[],
  context: TaskContext,
): Promise<void> {
  const failed: { readonly id: TaskId; readonly error: unknown }[] = []
  for (const task of tasks) {
    const run: Run = { ...context.run, log: (line) => context.run.log(`${task.id}: ${line}`) }
    try {
      await task.verify(host, await runOf(task, context, run))
      run.log('verified')
    } catch (error) {
      throwIfAborted(context.run.signal)
      run.log(`failed: ${messageOf(error)}`)
      failed.push({ id: task.id, error })
    }
  }
  if (failed.length === 0) return
  throw tasksFailure(host.machine, 'verification failed', failed)
}

/** Merges the errors of failed tasks into one error, with all hints and evidence; `also` is added to the reasons. */
export function tasksFailure(
  machine: string,
  said: string,
  failed: readonly { readonly id: TaskId; readonly error: unknown }[],
  more: {
    readonly also?: readonly string[]
    readonly evidence?: readonly string[]
    /** Hint that is used if no task's error has a hint. */
    readonly hint?: string
  } = {},
): OpsError {
  const cause = severalErrors(failed.map(({ error }) => error))
  const known = cause instanceof OpsError ? cause : undefined
  const hint = known?.hint ?? more.hint
  const detail = [...(known?.detail === undefined ? [] : [known.detail]), ...(more.evidence ?? [])].join('\n')
  const reasons = failed.map(({ id, error }) => `${id}: ${messageOf(error)}`).join('; ')
  const message = [`machine '${machine}': ${said}: ${reasons}`, ...(more.also ?? [])].join('; ')
  return failure('SETUP', message, {
    machine,
    cause,
    ...(hint === undefined ? {} : { hint }),
    ...(detail === '' ? {} : { detail }),
  })
}

async function reasonToRun(
  host: Host,
  task: WantedTask,
  context: TaskContext,
): Promise<Pick<TaskStatus, 'why' | 'lost' | 'leftOver'>> {
  const record = context.records[task.id]
  const state = await task.probe(host, context.run)
  // Changed options may refer to different data, so missing data is a loss only if the options did not change.
  const same = record?.inputs === context.hmac(task.inputs)
  const lost = same && isLost(state) ? task.irreplaceable : undefined
  const leftOver = typeof state === 'string' ? undefined : state.leftOver
  if (context.redo.has(task.id)) return { why: 'requested', lost, leftOver }
  const wrong = describeState(state)
  if (wrong !== undefined) return { why: wrong, lost, leftOver }
  const byRecord = reasonByRecord(task, context)
  if (byRecord !== undefined) return { why: byRecord, leftOver }
  if (leftOver !== undefined && context.prune) return { why: leftOver, leftOver }
  const hashes = await secretHashes(task.secrets, context)
  // A secret that cannot be read (in a dry run) counts as unchanged.
  const changed = task.secrets.find(
    ({ name }) => hashes[name] !== undefined && hashes[name] !== record?.secrets?.[name],
  )
  return { why: changed === undefined ? undefined : `the ${changed.what} changed`, leftOver }
}

function isLost(state: TaskState): boolean {
  if (state === 'done' || state === 'needed') return state === 'needed'
  return state.drifted !== undefined && state.lost === true
}

/** Describes the fault of a task; undefined if the task is done, even with leftovers. */
function describeState(state: TaskState): string | undefined {
  if (state === 'done') return undefined
  return state === 'needed' ? 'not done yet' : state.drifted
}

/** Refuses tasks that depend on each other in a cycle; such tasks would otherwise wait forever. */
function refuseCycles(wanted: ReadonlyMap<TaskId, WantedTask>): void {
  const visit = (id: TaskId, path: readonly TaskId[]): void => {
    if (path.includes(id))
      throw failure(
        'TASK_CYCLE',
        `set-up tasks depend on each other in a cycle: ${[...path, id].join(' → ')}`,
      )
    for (const before of wanted.get(id)?.after ?? []) visit(before, [...path, id])
  }
  for (const id of wanted.keys()) visit(id, [])
}
