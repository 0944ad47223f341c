import { failure, OpsError } from '../../core/errors.js'
import { StorePath } from '../../core/names.js'
import { type ActivationResult, finishActivation, followActivation, startActivation } from './activate.js'
import { type Job, journal, recordOf, updateJob } from './job.js'
import { connect, hostOf } from './reach.js'
import { surveyMachine } from './survey.js'

/** `later`: files or units wait for what a set-up task makes, or failed for want of it. */
export type Settled = 'done' | 'later'

/** How the activation program says so (nix/target/hydra-ops/activate.pl). */
const ownersLater = 6

/**
 * Activates the closure in a unit of the machine's own systemd, which goes on when we do not. Its name is
 * on disk before it starts, so that a later process can find its result. `again` = the second one of this run.
 */
export async function activateClosure(
  job: Job,
  path: StorePath,
  how: { readonly always: boolean; readonly laterOwners: boolean; readonly again?: boolean },
): Promise<Settled> {
  const { bootId } = await surveyMachine(hostOf(job), job.run)
  const run = how.again === true ? `${job.ops.operator.run}-2` : job.ops.operator.run
  const activation = {
    unit: `hydra-ops-${run}.service`,
    log: `/var/log/hydra-ops/${run}.log`,
    path,
    bootId,
  }
  journal(job, 'activate.start', { data: { unit: activation.unit, path } })
  updateJob(job, (draft) => {
    draft.activation = activation
  })
  job.changed = true
  const owner = job.session.record.uuid
  await startActivation(hostOf(job), { ...activation, owner, ...how }, job.run)
  return settle(job, activation)
}

/** How an activation that is over may have ended. Whatever else is thrown says nothing of it: it may run still. */
const verdicts = new Set(['ACTIVATION', 'ACTIVATION_UNKNOWN', 'UNITS_FAILED'])

/** Reads the result of an activation that an earlier process started and did not see end. False = there is none. */
export async function reattach(job: Job): Promise<boolean> {
  const activation = recordOf(job).activation
  if (activation === undefined) return false
  job.run.log(`an earlier run left activation ${activation.unit}; reading its result`)
  try {
    await settle(job, activation)
    job.changed = true
  } catch (error) {
    if (!(error instanceof OpsError) || !verdicts.has(error.code)) throw error
    // What it failed at is attempted again below; that it failed is in the journal and the log.
    job.run.log(`it had failed: ${error.message}`)
  }
  return true
}

type Activation = NonNullable<ReturnType<typeof recordOf>['activation']>

async function settle(job: Job, activation: Activation): Promise<Settled> {
  const path = StorePath.parse(activation.path)
  const connection = { host: hostOf(job), reconnect: () => connect(job) }
  const result = await followActivation(connection, { ...activation, path }, job.run)
  journal(job, 'activate.result', {
    result: result.kind,
    data: result.kind === 'failed' ? result.code : null,
  })
  await finishActivation(hostOf(job), activation.unit, job.run)
  updateJob(job, (draft) => {
    draft.activation = undefined
  })
  return judge(job, path, result)
}

async function judge(job: Job, path: StorePath, result: ActivationResult): Promise<Settled> {
  if (result.kind === 'ok') return 'done'
  const { machine } = job
  if (result.kind === 'unknown') {
    const { profile } = await surveyMachine(hostOf(job), job.run)
    if (profile === path) return 'done'
    throw failure(
      'ACTIVATION_UNKNOWN',
      `machine '${machine}': the result of the activation is lost: ${result.why}`,
      {
        machine,
        hint: 'deploy again: activation begins anew and skips what is done',
      },
    )
  }
  if (result.code === ownersLater) return 'later'
  const facts = { machine, detail: [...result.log, ...result.journal].join('\n') }
  if (result.units.length > 0) {
    throw failure('UNITS_FAILED', `machine '${machine}': units failed: ${result.units.join(', ')}`, {
      ...facts,
      hint: `hydra-ops ssh ${machine} systemctl status ${result.units[0]}`,
    })
  }
  throw failure('ACTIVATION', `machine '${machine}': the activation ended with status ${result.code}`, {
    ...facts,
    hint: `hydra-ops logs ${machine}`,
  })
}
