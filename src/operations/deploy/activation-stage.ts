import { failure, OpsError } from '../../core/errors.js'
import { StorePath } from '../../core/names.js'
import { type ActivationResult, finishActivation, followActivation, startActivation } from './activate.js'
import { type Job, journal, recordOf, updateJob } from './job.js'
import { connect, hostOf } from './reach.js'
import { surveyMachine } from './survey.js'
import { tellsOfUndone } from './undone.js'

/** How an activation ended that is no failure. */
export type Activated = {
  /** Its lines that tell what was removed or put back; undefined = they are lost. */
  readonly undone: readonly string[] | undefined
} & (
  | { readonly kind: 'done' }
  /** Something waits for a set-up task, or failed, maybe for want of one: the activation after the tasks judges it. */
  | {
      readonly kind: 'unjudged'
      /** Says what waits and what failed, as the activation program does. */
      readonly left: readonly string[]
      /** The last journal lines of the units that failed. */
      readonly journal: readonly string[]
    }
)

/** The status of the activation program for `unjudged` (nix/target/hydra-ops/activate.pl). */
const unjudged = 6

/** How the lines of the program begin that say what waits and what failed. */
const leftLine = /^(?:waiting for their owner|failed before the set-up tasks): /

/**
 * Activates the closure in a unit of the machine's own systemd, which goes on when we do not. Its name is
 * on disk before it starts, so that a later process can find its result. `again` = the second one of this run.
 */
export async function activateClosure(
  job: Job,
  path: StorePath,
  options: { readonly always: boolean; readonly beforeTasks: boolean; readonly again: boolean },
): Promise<Activated> {
  const { bootId } = await surveyMachine(hostOf(job), job.run)
  const run = options.again ? `${job.ops.operator.run}-2` : job.ops.operator.run
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
  await startActivation(hostOf(job), { ...activation, owner, ...options }, job.run)
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

async function settle(job: Job, activation: Activation): Promise<Activated> {
  const path = StorePath.parse(activation.path)
  const connection = { host: hostOf(job), reconnect: () => connect(job) }
  const undone: string[] = []
  const log = (line: string) => {
    if (tellsOfUndone(line)) undone.push(line)
    job.run.log(line)
  }
  const result = await followActivation(connection, { ...activation, path }, { ...job.run, log })
  journal(job, 'activate.result', {
    result: result.kind,
    data: result.kind === 'failed' ? result.code : null,
  })
  await finishActivation(hostOf(job), activation.unit, job.run)
  updateJob(job, (draft) => {
    draft.activation = undefined
  })
  return judge(job, path, result, undone)
}

async function judge(
  job: Job,
  path: StorePath,
  result: ActivationResult,
  undone: readonly string[],
): Promise<Activated> {
  if (result.kind === 'ok') return { kind: 'done', undone }
  const { machine } = job
  if (result.kind === 'unknown') {
    const { profile } = await surveyMachine(hostOf(job), job.run)
    if (profile === path) return { kind: 'done', undone: undefined }
    throw failure(
      'ACTIVATION_UNKNOWN',
      `machine '${machine}': the result of the activation is lost: ${result.why}`,
      {
        machine,
        hint: 'deploy again: activation begins anew and skips what is done',
      },
    )
  }
  if (result.code === unjudged) {
    return {
      kind: 'unjudged',
      undone,
      left: result.log.filter((line) => leftLine.test(line)),
      journal: result.journal,
    }
  }
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
