import pLimit from 'p-limit'
import { failure, messageOf } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import type { MachineName } from '../core/names.js'
import { settleAll } from '../core/settle.js'
import { connect } from '../machine/connect.js'
import { failedResult } from '../machine/finish.js'
import { closeJob, updateJob } from '../machine/machine.js'
import { failuresIn } from '../machine/results.js'
import { systemOf } from '../systems/systems.js'
import { enter, type Job } from './job.js'

/**
 * Rolls back the machines that this run switched, because a machine failed. The failed machine is one of `jobs`, or of
 * `before`: the machines whose work never began. Returns all results; a machine that was rolled back counts as failed,
 * since it runs its earlier system.
 */
export async function rollbackAll(
  jobs: readonly Job[],
  results: readonly MachineResult[],
  { limit, before }: { readonly limit: number; readonly before: readonly MachineName[] },
): Promise<MachineResult[]> {
  const failed = [...before, ...failuresIn(results).map(({ machine }) => machine)]
  if (failed.length === 0) return [...results]
  const slots = pLimit(limit)
  return settleAll(
    results.map((result) =>
      slots(async () => {
        const job = jobs.find(({ machine }) => machine === result.machine)
        if (job?.switchedFrom === undefined) return result
        const others = failed.filter((machine) => machine !== job.machine)
        const because = others.length === 0 ? result.reason : `${others.join(', ')} failed`
        return goBack(job, result, because ?? 'a machine failed')
      }),
    ),
  )
}

async function goBack(job: Job, result: MachineResult, because: string): Promise<MachineResult> {
  const { switchedFrom: before, machine } = job
  if (before === undefined) return result
  try {
    enter(job, 'activate', `back to the system before this deploy, because ${because}`)
    await connect(job)
    const options = { always: false, beforeTasks: false, again: false, suffix: '-back' }
    const { trial } = await systemOf(job.definition).activate(job, before.path, options)
    await trial?.keep()
    await updateJob(job, (draft) => {
      draft.deployed = before.deployed
    })
    const why = `went back to the system before this deploy, because ${because} (--on-failure rollback-all)`
    return failedResult(
      machine,
      'activate',
      result.seconds,
      failure('WENT_BACK', `machine '${machine}' ${why}`),
      [],
    )
  } catch (error) {
    const why = `machine '${machine}' was to go back, because ${because}, but could not: ${messageOf(error)}`
    return failedResult(machine, 'activate', result.seconds, failure('WENT_BACK', why, { cause: error }), [])
  } finally {
    closeJob(job)
  }
}
