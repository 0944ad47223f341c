import { failure, messageOf, OpsError } from '../../core/errors.js'
import { severalErrors } from '../../core/several-errors.js'
import { installPackages } from './apt.js'
import { type Job, journal, updateJob } from './job.js'
import { type Look, taskContext } from './look.js'
import { hostOf } from './reach.js'
import { refuseMachine } from './refuse-machine.js'
import { aloneOnMachine } from './set-up-lock.js'
import { runTasks, type TaskResult } from './tasks.js'

/** Installs what apt is to install, in one transaction; answers whether something was. */
export async function deliverPackages(job: Job, look: Look): Promise<boolean> {
  if (look.missingPackages.length === 0) return false
  refuseMachine(job, look.survey)
  journal(job, 'packages.install', { data: [...look.missingPackages] })
  const proxy = job.definition.options.aptProxy
  const installed = await installPackages(hostOf(job), look.packages, { proxy, run: job.run })
  if (installed.length > 0) job.changed = true
  return installed.length > 0
}

/** Runs the set-up tasks of one stage that need to run; answers whether any did. */
export async function deliverTasks(
  job: Job,
  stage: 'bootstrap' | 'configure',
  look: Look,
  redo: ReadonlySet<string> = new Set(),
): Promise<boolean> {
  const due = look.tasks.filter(
    ({ task, why }) => task.stage === stage && (why !== undefined || redo.has(task.id)),
  )
  if (due.length === 0) return false
  refuseMachine(job, look.survey)
  const results = await aloneOnMachine(job, () =>
    runTasks(
      hostOf(job),
      due.map(({ task }) => task),
      {
        ...taskContext(job, redo),
        onDone: (task, record) => {
          updateJob(job, (draft) => {
            draft.tasks[task.id] = record
          })
          journal(job, 'task.done', { data: task.id })
        },
      },
    ),
  )
  if (results.some((result) => result.kind === 'done')) job.changed = true
  refuseFailed(job, results)
  return results.some((result) => result.kind === 'done')
}

function refuseFailed(job: Job, results: readonly TaskResult[]): void {
  const failed = results.flatMap((result) => (result.kind === 'failed' ? [result] : []))
  if (failed.length === 0) return
  const skipped = results.flatMap((result) => (result.kind === 'skipped' ? [result.id] : []))
  const left = skipped.length === 0 ? '' : `; not begun because of that: ${skipped.join(', ')}`
  const reasons = failed.map((result) => `${result.id}: ${messageOf(result.error)}`).join('; ')
  const cause = severalErrors(failed.map(({ error }) => error))
  const { hint, detail } = cause instanceof OpsError ? cause : {}
  throw failure('SETUP', `machine '${job.machine}': set-up failed: ${reasons}${left}`, {
    machine: job.machine,
    cause,
    hint: hint ?? `hydra-ops logs ${job.machine}`,
    ...(detail === undefined ? {} : { detail }),
  })
}
