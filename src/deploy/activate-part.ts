import { failure } from '../core/errors.js'
import type { StorePath } from '../core/names.js'
import { finishKeys, placeKeys } from '../keys/keys-stage.js'
import { systemOf } from '../systems/systems.js'
import type { Assessment } from './assess.js'
import { activationDue, activationOptions, alwaysActivates, enter, type Job } from './job.js'
import type { MachineState } from './look.js'

/**
 * Performs only a part of an activation: `--boot`, `--test` or `--dry-activate`. Set-up tasks, health checks and the
 * record belong to a complete deploy. Keys are delivered only with a system that runs (`--test`).
 */
export async function activatePart(job: Job, look: MachineState, wanted: StorePath): Promise<void> {
  const { mode } = job.request
  const keys = mode === 'test'
  if (keys) {
    enter(job, 'keys')
    await placeKeys(job, 'pre-activation', look.keys)
  }
  enter(job, 'activate', `--${mode}`)
  if (activationDue(job, look.survey.profile, wanted)) {
    const options = { always: alwaysActivates(job), beforeTasks: false, again: false }
    const { trial, degraded } = await systemOf(job.definition).activate(job, wanted, {
      ...options,
      ...activationOptions(job),
    })
    await trial?.keep()
    if (degraded !== undefined) throw degraded
  }
  if (keys) {
    enter(job, 'keys')
    await finishKeys(job, look.keys)
  }
}

/**
 * Returns the state of a machine for `--dry-activate`; throws if the machine is down, because a trial starts no
 * machine.
 */
export function lookToTry(job: Job, { look }: Assessment): MachineState {
  if (look !== undefined) return look
  throw failure(
    'NOT_RUNNING',
    `machine '${job.machine}' is not running or does not answer, so no switch can be tried`,
    {
      machine: job.machine,
      hint: 'start the machine, or deploy without --dry-activate',
    },
  )
}
