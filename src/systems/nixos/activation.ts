import { failure, OpsError } from '../../core/errors.js'
import { StorePath } from '../../core/names.js'
import { hostOf } from '../../machine/connect.js'
import { journal, type MachineSession, recordOf, updateJob } from '../../machine/machine.js'
import type { Followed } from '../follow-unit.js'
import type { Activated, ActivationOptions } from '../system.js'
import { bootOnce, requireBootOnce, takeOverBootOnce } from './boot-once.js'
import { compareSystems } from './compare.js'
import { endOf, type Going } from './ends.js'
import { afterGuard, conclude, confirmByLogin, follow, goBack, noSystem, unconfirmed } from './guarded.js'
import { nixosActivation, runOf } from './places.js'
import {
  type ActivationTimes,
  type Beginning,
  beginActivation,
  finishActivation,
  takeGuardFile,
  usualTimes,
} from './steps.js'
import { type NixosSurvey, surveyNixos } from './survey.js'
import type { SwitchState } from './switch-state.js'
import { NixosTrial } from './trial.js'
import { judgeSwitch, type Verdict } from './verdict.js'

/**
 * Activates a system so that no fault of the system can lock the operator out. A guard on the machine goes back to the
 * old system unless a new login confirms the new system in time (docs/safety.md). The confirmed system is on trial:
 * `keep` makes the system the boot default. The record names the unit before the unit starts, so that a later process
 * can continue.
 */
export async function activateSystem(
  session: MachineSession,
  path: StorePath,
  options: ActivationOptions,
  times: ActivationTimes = usualTimes,
): Promise<Activated> {
  const seen = await surveyNixos(hostOf(session), session.run, path)
  const running = seen.current
  if (running === undefined) throw noSystem(session)
  const difference = seen.wanted === undefined ? undefined : compareSystems(seen, seen.wanted, path)
  const onlyByBoot = running === path ? undefined : difference?.onlyByBoot
  if (onlyByBoot !== undefined && options.mode === 'test') throw noTest(session, onlyByBoot)
  const once = options.bootOnce === true && (options.mode ?? 'switch') === 'switch'
  const boots = once && difference?.rebootReason !== undefined
  if (boots) {
    await requireBootOnce(session)
    await options.beforeReboot?.()
  }
  const first = options.again && options.first instanceof NixosTrial ? options.first.going : undefined
  const suffix = options.suffix ?? (options.again ? '-2' : '')
  const id = `${session.ops.operator.run}${suffix}`
  const activation = nixosActivation(id, path, seen.survey.bootId)
  const old = first?.old ?? wayBack(seen, path)
  const action = onlyByBoot === undefined ? actionFor(seen, path, options) : actionByBoot(options)
  // The first activation ends here, because the second activation takes over its way back.
  if (first !== undefined) await finishActivation(hostOf(session), first.activation, false, session.run)
  await journal(session, 'activate.start', { data: { unit: activation.unit, path, old, action } })
  await updateJob(session, (draft) => {
    const { unit, log, bootId } = activation
    draft.activation = { unit, path, log, bootId }
  })
  if (options.mode !== 'dry-activate') session.changed = true
  const confirm = options.confirmSeconds ?? times.confirm
  const owner = session.deployment.record.uuid
  const guarded = action === 'test'
  const beginning = { running, old, owner, action, guarded, times: { ...times, confirm } }
  await beginActivation(hostOf(session), activation, beginning, session.run)
  const before = first?.before ?? (running === path && seen.profile !== path ? [] : undefined)
  const going: Going = {
    session,
    activation,
    old,
    options,
    before,
    progress: { lines: 0, trouble: undefined },
  }
  const activated = action === 'none' ? await onTrial(going, []) : await complete(going)
  // Sometimes only the switch itself finds that a boot is needed.
  if (once && !boots && activated.rebootReason !== undefined) await options.beforeReboot?.()
  return booted(activated, difference?.rebootReason, once)
}

/**
 * Adds the reason for a reboot. If `once` is set, a system that needs a boot is booted once here, before it becomes the
 * boot default.
 */
async function booted(activated: Activated, reason: string | undefined, once: boolean): Promise<Activated> {
  const { trial } = activated
  const why = activated.rebootReason ?? reason
  if (trial === undefined || why === undefined) return activated
  if (!once || activated.kind !== 'done' || !(trial instanceof NixosTrial))
    return { ...activated, rebootReason: why }
  const { going } = trial
  const activation = await unlessBack(going, () => bootOnce(going))
  const entered = new NixosTrial({ ...going, activation }, true)
  return { ...activated, rebootReason: undefined, restarted: true, trial: entered }
}

/** Runs a step of a one-time boot. Ends the activation if the boot led back to the old system, or did not begin. */
async function unlessBack<T>(going: Going, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    const over = error instanceof OpsError && (error.code === 'WENT_BACK' || error.code === 'BOOT_ONCE')
    if (over) await conclude(going, false)
    throw error
  }
}

function actionByBoot({ mode }: ActivationOptions): Beginning['action'] {
  return mode === 'dry-activate' ? mode : 'none'
}

function noTest({ machine }: MachineSession, why: string): OpsError {
  return failure(
    'ACTIVATION',
    `machine '${machine}': nothing was switched, because the change needs a reboot and --test never reboots: ${why}`,
    {
      machine,
      hint: 'deploy without --test, or with --boot',
    },
  )
}

/**
 * Returns the system that a fault leads back to. An earlier run may have left the new system running, and the profile
 * then still names the previous system.
 */
function wayBack({ current, profile }: NixosSurvey, path: StorePath): string {
  const before = current === path ? profile : current
  return before ?? current ?? path
}

function actionFor(
  seen: NixosSurvey,
  path: StorePath,
  { mode = 'switch', always, again }: ActivationOptions,
): Beginning['action'] {
  if (mode === 'dry-activate') return mode
  if (mode === 'boot') return 'none'
  if (mode === 'test' || always || again || seen.current !== path) return 'test'
  // A system that runs already, and has nothing to fix, only has to become the boot default.
  const sound = seen.leftovers.length === 0 && seen.failedUnits.length === 0 && seen.restarts.size === 0
  return sound ? 'none' : 'test'
}

/** Error codes that tell how an activation ended. Any other error leaves open whether the activation still runs. */
const verdicts = new Set(['ACTIVATION', 'ACTIVATION_UNKNOWN', 'UNITS_FAILED', 'WENT_BACK', 'BUSY'])

/**
 * Continues an activation whose end an earlier process did not see, and returns false if no such activation exists. A
 * system that runs is confirmed, but stays on trial, because tasks and health checks have not judged it.
 */
export async function reattach(session: MachineSession): Promise<boolean> {
  const known = recordOf(session).activation
  const id = known === undefined ? undefined : runOf(known.unit)
  if (known === undefined || id === undefined) return false
  session.run.log(`an earlier run left activation ${known.unit}; reading its result`)
  const activation = nixosActivation(id, StorePath.parse(known.path), known.bootId)
  const options = { always: false, beforeTasks: false, again: false }
  const progress = { lines: 0, trouble: undefined }
  const going: Going = { session, activation, old: undefined, options, before: undefined, progress }
  try {
    const entered = await unlessBack(going, () => takeOverBootOnce(going))
    if (entered !== undefined) {
      await conclude({ ...going, activation: entered }, false)
      session.changed = true
      return true
    }
    const { trial } = await complete(going)
    // The earlier process may have begun to make the system the boot default.
    const { state } = await follow(going, 'kept')
    if (trial !== undefined) await conclude(going, state.files.get('kept') === '0 0')
    session.changed = true
  } catch (error) {
    if (!(error instanceof OpsError) || !verdicts.has(error.code)) throw error
    // The deploy attempts the same work again, and the journal and the log record the failure.
    session.run.log(`that activation failed: ${error.message}`)
  }
  return true
}

/** Follows a switch to its end, judges the switch, and confirms or undoes it. */
async function complete(going: Going): Promise<Activated> {
  const { session, activation, options } = going
  const watched = await follow(going, 'watched')
  const { files } = watched.state
  const known: Going = { ...going, old: going.old ?? files.get('old') }
  const verdict = judge(known, watched.state, watched.log)
  const why = 'why' in verdict ? verdict.why : undefined
  await journal(session, 'activate.result', { result: verdict.kind, data: why ?? null })
  if (options.mode === 'dry-activate') {
    await conclude(known, false)
    return { kind: 'done', undone: [] }
  }
  switch (verdict.kind) {
    case 'fired':
      return afterGuard(known, files.has('ended') ? unconfirmed(known) : tooSlow)
    case 'lost':
      return lost(known, watched.state, verdict.why)
    case 'back':
      if (files.has('armed') || files.has('confirmed')) return goBack(known, verdict.why)
      return lost(known, watched.state, verdict.why)
    case 'busy':
      await takeGuardFile(hostOf(session), activation, 'abandoned', session.run)
      await conclude(known, false)
      throw endOf(known, verdict, watched.log)
    case 'boot':
      await takeGuardFile(hostOf(session), activation, 'abandoned', session.run)
      return { ...(await onTrial(known, [])), rebootReason: onlyByBoot }
    case 'degraded':
      if (options.onDegraded === 'rollback' && !options.beforeTasks) return goBack(known, verdict.why)
      return confirmed(known, watched)
    case 'good':
      return confirmed(known, watched)
  }
}

const tooSlow = 'the switch did not end in time'
const onlyByBoot = 'reboot needed: only a boot can enter the new system'

function judge(going: Going, state: SwitchState, log: readonly string[]): Verdict {
  return judgeSwitch({ ...state, before: going.before ?? state.before }, going.activation, log)
}

/** Confirms the switch by a new login, waits for the end of the watch, and judges again. */
async function confirmed(going: Going, watched: Followed<SwitchState>): Promise<Activated> {
  const { session } = going
  if (watched.state.files.has('armed')) {
    const login = await confirmByLogin(going)
    if (login.kind === 'lost') return afterGuard(going, login.why)
    await journal(session, 'activate.confirmed')
  }
  const settled = await follow(going, 'settled')
  const log = [...watched.log, ...settled.log]
  const verdict = judge(going, settled.state, log)
  // A second activation compares with the services before the first one.
  const known: Going = { ...going, before: going.before ?? settled.state.before }
  if (verdict.kind === 'degraded') return degraded(known, verdict, log)
  if (verdict.kind === 'good') return onTrial(known, verdict.notes)
  await conclude(known, false)
  throw endOf(known, verdict, log)
}

type Degraded = Extract<Verdict, { kind: 'degraded' }>

async function degraded(going: Going, verdict: Degraded, log: readonly string[]): Promise<Activated> {
  const { options } = going
  if (options.beforeTasks) {
    const trial = new NixosTrial(going)
    return { kind: 'unjudged', undone: [], left: [verdict.why], journal: verdict.notes, trial }
  }
  if (options.onDegraded === 'rollback') return goBack(going, verdict.why)
  const error = endOf(going, verdict, log)
  if (options.onDegraded === 'keep') return { ...(await onTrial(going, [])), degraded: error }
  await conclude(going, false)
  throw error
}

/** Ends the switch; the system is on trial from now on, unless it should run only until the next boot. */
async function onTrial(going: Going, notes: readonly string[]): Promise<Activated> {
  const { session, options } = going
  for (const note of notes) session.run.log(note)
  if (options.mode !== 'test') return { kind: 'done', undone: [], trial: new NixosTrial(going) }
  await conclude(going, false)
  return { kind: 'done', undone: [] }
}

async function lost(going: Going, state: SwitchState, why: string): Promise<Activated> {
  await conclude(going, false)
  throw endOf(going, { kind: 'unknown', why, state }, [])
}
