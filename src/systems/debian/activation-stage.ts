import { failure, OpsError } from '../../core/errors.js'
import { StorePath } from '../../core/names.js'
import { connect, hostOf } from '../../machine/connect.js'
import { journal, type MachineSession, recordOf, updateJob } from '../../machine/machine.js'
import type { Activated, ActivationOptions } from '../system.js'
import { type ActivationResult, finishActivation, followActivation, startActivation } from './activation.js'
import { surveyMachine } from './survey.js'
import { tellsOfUndone } from './undone.js'

/** Exit status of the activation program for `unjudged` (nix/target/hydra-ops/activate.pl). */
const unjudged = 6

/** Beginning of the lines in which the program names the waiting and the failed parts. */
const leftLine = /^(?:waiting for their owner|failed before the set-up tasks): /

/**
 * Activates the closure in a unit of the machine's own systemd, which continues without hydra-ops. The record names the
 * unit before it starts, so that a later process can find the result.
 */
export async function activateClosure(
  session: MachineSession,
  path: StorePath,
  options: ActivationOptions,
): Promise<Activated> {
  const { bootId } = await surveyMachine(hostOf(session), session.run)
  const run = options.again ? `${session.ops.operator.run}-2` : session.ops.operator.run
  const activation = {
    unit: `hydra-ops-${run}.service`,
    log: `/var/log/hydra-ops/${run}.log`,
    path,
    bootId,
  }
  await journal(session, 'activate.start', { data: { unit: activation.unit, path } })
  await updateJob(session, (draft) => {
    draft.activation = activation
  })
  session.changed = true
  const owner = session.deployment.record.uuid
  await startActivation(hostOf(session), { ...activation, owner, ...options }, session.run)
  return readResult(session, activation)
}

/** Error codes that tell how an activation ended. Any other error leaves open whether the activation still runs. */
const verdicts = new Set(['ACTIVATION', 'ACTIVATION_UNKNOWN', 'UNITS_FAILED'])

/**
 * Reads the result of an activation whose end an earlier process missed; returns false if no such activation exists.
 */
export async function reattach(session: MachineSession): Promise<boolean> {
  const activation = recordOf(session).activation
  if (activation === undefined) return false
  session.run.log(`an earlier run left activation ${activation.unit}; reading its result`)
  try {
    await readResult(session, activation)
    session.changed = true
  } catch (error) {
    if (!(error instanceof OpsError) || !verdicts.has(error.code)) throw error
    // The deploy attempts the same work again, and the journal and the log record the failure.
    session.run.log(`that activation failed: ${error.message}`)
  }
  return true
}

type Activation = NonNullable<ReturnType<typeof recordOf>['activation']>

async function readResult(session: MachineSession, activation: Activation): Promise<Activated> {
  const path = StorePath.parse(activation.path)
  const connection = { host: hostOf(session), reconnect: () => connect(session) }
  const undone: string[] = []
  const log = (line: string) => {
    if (tellsOfUndone(line)) undone.push(line)
    session.run.log(line)
  }
  const result = await followActivation(connection, { ...activation, path }, { ...session.run, log })
  await journal(session, 'activate.result', {
    result: result.kind,
    data: result.kind === 'failed' ? result.code : null,
  })
  await finishActivation(hostOf(session), activation.unit, session.run)
  await updateJob(session, (draft) => {
    draft.activation = undefined
  })
  return outcomeOf(session, path, result, undone)
}

async function outcomeOf(
  session: MachineSession,
  path: StorePath,
  result: ActivationResult,
  undone: readonly string[],
): Promise<Activated> {
  if (result.kind === 'ok') return { kind: 'done', undone }
  const { machine } = session
  if (result.kind === 'unknown') {
    const { profile } = await surveyMachine(hostOf(session), session.run)
    if (profile === path) return { kind: 'done', undone: undefined }
    throw failure(
      'ACTIVATION_UNKNOWN',
      `machine '${machine}': the result of the activation is lost: ${result.why}`,
      {
        machine,
        hint: 'deploy again; the activation starts again and skips the steps that are done',
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
