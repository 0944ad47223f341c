import { failure, messageOf, OpsError, throwIfAborted, unreachable } from '../../core/errors.js'
import { StorePath } from '../../core/names.js'
import { pause } from '../../core/pause.js'
import type { Host } from '../../core/ssh.js'
import { bootMs, connect, hostOf } from '../../machine/connect.js'
import { journal, type MachineSession, recordOf, updateJob } from '../../machine/machine.js'
import { type Followed, followUnit, goesOn } from '../follow-unit.js'
import type { Activated, ActivationOptions } from '../system.js'
import { endOf, type Going } from './ends.js'
import { nixosActivation, runOf } from './places.js'
import {
  type ActivationTimes,
  beginActivation,
  finishActivation,
  followedUntil,
  startGuard,
  startKeep,
  takeGuardFile,
  usualTimes,
} from './steps.js'
import { surveyNixos } from './survey.js'
import type { RunFile, SwitchState } from './switch-state.js'
import { judgeSwitch, type Verdict } from './verdict.js'

/** Pause between two attempts to log in to a new system. */
const loginPauseMs = 1_000
/** Deadline of one such attempt. */
const loginMs = 20_000

/**
 * Activates a system so that no fault of the system locks anybody out: a guard on the machine goes back to the old
 * system, unless a new login confirms the new one in time. Only a confirmed system becomes the boot default
 * (docs/safety.md). The record names the unit before it starts, so that a later process can continue.
 */
export async function activateSystem(
  session: MachineSession,
  path: StorePath,
  options: ActivationOptions,
  times: ActivationTimes = usualTimes,
): Promise<Activated> {
  const mode = options.mode ?? 'switch'
  const seen = await surveyNixos(hostOf(session), session.run)
  const old = seen.current
  if (old === undefined) throw noSystem(session)
  const id = options.again ? `${session.ops.operator.run}-2` : session.ops.operator.run
  const activation = nixosActivation(id, path, seen.survey.bootId)
  const runsAlready = old === path && seen.leftovers.length === 0 && !options.always && !options.again
  const action =
    mode === 'dry-activate' ? mode : mode === 'boot' || (mode === 'switch' && runsAlready) ? 'none' : 'test'
  await journal(session, 'activate.start', { data: { unit: activation.unit, path, old, action } })
  await updateJob(session, (draft) => {
    const { unit, log, bootId } = activation
    draft.activation = { unit, path, log, bootId }
  })
  if (mode !== 'dry-activate') session.changed = true
  const confirm = options.confirmSeconds ?? times.confirm
  await beginActivation(
    hostOf(session),
    activation,
    {
      old,
      owner: session.deployment.record.uuid,
      action,
      guarded: action === 'test',
      times: { ...times, confirm },
    },
    session.run,
  )
  const going: Going = { session, activation, old, options, progress: { lines: 0, trouble: undefined } }
  if (action === 'none') return keep(going, [])
  return complete(going)
}

/** Error codes that tell how an activation ended. Any other error leaves open whether the activation still runs. */
const verdicts = new Set(['ACTIVATION', 'ACTIVATION_UNKNOWN', 'UNITS_FAILED', 'WENT_BACK', 'BUSY'])

/** Continues an activation whose end an earlier process did not see; returns false if there is none. */
export async function reattach(session: MachineSession): Promise<boolean> {
  const known = recordOf(session).activation
  const id = known === undefined ? undefined : runOf(known.unit)
  if (known === undefined || id === undefined) return false
  session.run.log(`an earlier run left activation ${known.unit}; reading its result`)
  const activation = nixosActivation(id, StorePath.parse(known.path), known.bootId)
  const options = { always: false, beforeTasks: false, again: false }
  try {
    await complete({
      session,
      activation,
      old: undefined,
      options,
      progress: { lines: 0, trouble: undefined },
    })
    session.changed = true
  } catch (error) {
    if (!(error instanceof OpsError) || !verdicts.has(error.code)) throw error
    // The deploy attempts the same work again, and the journal and the log hold the failure.
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
  const verdict = judgeSwitch(watched.state, activation, watched.log)
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
      return keep(known, [])
    case 'degraded':
      if (options.onDegraded === 'rollback') return goBack(known, verdict.why)
      return confirmed(known, watched)
    case 'good':
      return confirmed(known, watched)
  }
}

const tooSlow = 'the switch did not end in time'

/** Says why the guard was faster than the confirmation. */
function unconfirmed({ progress: { trouble } }: Going): string {
  if (trouble === undefined) return 'nobody confirmed the new system in time'
  return `a new login to the new system failed: ${trouble}`
}

/** Confirms the switch by a new login, waits for the end of the watch, and judges again. */
async function confirmed(going: Going, watched: Followed<SwitchState>): Promise<Activated> {
  const { session, activation, options } = going
  if (watched.state.files.has('armed')) {
    const login = await confirmByLogin(going)
    if (login.kind === 'lost') return afterGuard(going, login.why)
    await journal(session, 'activate.confirmed')
  }
  const settled = await follow(going, 'settled')
  const log = [...watched.log, ...settled.log]
  const verdict = judgeSwitch(settled.state, activation, log)
  if (verdict.kind === 'degraded') return degraded(going, verdict, log)
  if (verdict.kind !== 'good') {
    await conclude(going, false)
    throw endOf(going, verdict, log)
  }
  if (options.mode !== 'test') return keep(going, verdict.notes)
  for (const note of verdict.notes) session.run.log(note)
  await conclude(going, false)
  return { kind: 'done', undone: [] }
}

type Degraded = Extract<Verdict, { kind: 'degraded' }>

async function degraded(going: Going, verdict: Degraded, log: readonly string[]): Promise<Activated> {
  const { options } = going
  if (options.beforeTasks) {
    await conclude(going, false)
    return { kind: 'unjudged', undone: [], left: [verdict.why], journal: verdict.notes }
  }
  if (options.onDegraded === 'rollback') return goBack(going, verdict.why)
  if (options.onDegraded === 'keep') await keep(going, [])
  else await conclude(going, false)
  throw endOf(going, verdict, log)
}

/** Makes the new system the boot default, in a unit of its own. */
async function keep(going: Going, notes: readonly string[]): Promise<Activated> {
  const { session, activation } = going
  for (const note of notes) session.run.log(note)
  await startKeep(hostOf(session), activation, going.old ?? activation.path, session.run)
  const { state, log } = await follow(going, 'kept')
  const result = state.files.get('kept')
  const ok = result === '0 0'
  await journal(session, 'activate.kept', { result: ok ? 'done' : 'failed', data: result ?? null })
  await conclude(going, ok)
  if (!ok) throw endOf(going, { kind: 'unkept', result }, log)
  const { survey } = await surveyNixos(hostOf(session), session.run)
  return { kind: 'done', undone: [], rebootReason: survey.rebootReason }
}

/** Starts the guard at once, and waits for it. */
async function goBack(going: Going, why: string): Promise<Activated> {
  const { session, activation, old } = going
  if (old === undefined) throw noSystem(session)
  session.run.log(`${why}; going back to ${old}`)
  await startGuard(hostOf(session), activation, old, session.run)
  return afterGuard(going, why)
}

/** Waits until the guard has gone back, maybe by a reboot, and proves by a new login that the machine can be used. */
async function afterGuard(going: Going, why: string): Promise<never> {
  const { session, activation } = going
  session.run.log(`${why}; waiting until the old system is back`)
  const deadline = Date.now() + guardMs
  let seen = await follow(going, 'guard-result')
  await logIn(session, deadline)
  while (outcomeOf(seen.state) === 'reboot' && seen.state.bootId === activation.bootId) {
    if (Date.now() >= deadline) break
    await pause(loginPauseMs, session.run.signal)
    seen = await follow(going, 'guard-result')
  }
  const result = seen.state.files.get('guard-result') ?? 'unknown'
  await journal(session, 'activate.undone', { result, data: why })
  await conclude(going, false)
  throw endOf(going, { kind: 'undone', why, state: seen.state }, seen.log)
}

function outcomeOf({ files }: SwitchState): string {
  return (files.get('guard-result') ?? '').split(' ')[0] ?? ''
}

async function lost(going: Going, state: SwitchState, why: string): Promise<Activated> {
  await conclude(going, false)
  throw endOf(going, { kind: 'unknown', why, state }, [])
}

/** Logs in anew until the guard's file is taken: by us, or by the guard. Says why no login succeeded before. */
async function confirmByLogin(
  going: Going,
): Promise<{ readonly kind: 'won' } | { readonly kind: 'lost'; readonly why: string }> {
  const { session, activation } = going
  const deadline = Date.now() + guardMs
  for (;;) {
    try {
      const host = await connect(session, loginMs)
      const won = await takeGuardFile(host, activation, 'confirmed', session.run)
      return won ? { kind: 'won' } : { kind: 'lost', why: unconfirmed(going) }
    } catch (error) {
      if (session.run.signal.aborted) throw goesOn({ machine: session.machine }, activation)
      if (!(error instanceof OpsError) || Date.now() >= deadline) throw error
      going.progress.trouble = error.message
      session.run.log(`${error.message}; trying again`)
    }
    await restBetweenLogins(going)
  }
}

/** Milliseconds for the guard: three attempts, a reboot, and a login. */
const guardMs = 3 * 310_000 + 2 * bootMs

async function restBetweenLogins({ session, activation }: Going): Promise<void> {
  await pause(loginPauseMs, session.run.signal).catch(() => {
    throw goesOn({ machine: session.machine }, activation)
  })
}

/** Logs in anew, for as long as it takes until the deadline. */
async function logIn(session: MachineSession, deadline: number): Promise<Host> {
  for (;;) {
    try {
      return await connect(session, loginMs)
    } catch (error) {
      throwIfAborted(session.run.signal)
      if (Date.now() >= deadline) throw error
      session.run.log(`${messageOf(error)}; trying again`)
    }
    await pause(loginPauseMs, session.run.signal)
  }
}

/** Follows until a file appears. A new system may refuse logins for any reason, so each failed login is tried again. */
async function follow(going: Going, awaited: RunFile): Promise<Followed<SwitchState>> {
  const { session, activation, progress } = going
  const reconnect = async () => {
    try {
      return await connect(session, loginMs)
    } catch (error) {
      throwIfAborted(session.run.signal)
      progress.trouble = messageOf(error)
      throw unreachable(session.machine, messageOf(error), { cause: error })
    }
  }
  // The connection of an earlier step may be gone, as after a login that failed.
  const host = session.host ?? (await logIn(session, Date.now() + guardMs))
  const followed = await followUnit({ host, reconnect }, followedUntil(activation, awaited), session.run, {
    seen: progress.lines,
    deadlineMs: guardMs,
  })
  progress.lines = followed.seen
  return followed
}

/** Removes the activation from the machine and from the record. */
async function conclude({ session, activation }: Going, kept: boolean): Promise<void> {
  await finishActivation(hostOf(session), activation, kept, session.run)
  await updateJob(session, (draft) => {
    draft.activation = undefined
  })
}

function noSystem({ machine }: MachineSession): Error {
  return failure(
    'ACTIVATION',
    `machine '${machine}' has no /run/current-system, so there is no way back from a switch`,
    {
      machine,
      hint: 'is it a NixOS machine?',
    },
  )
}
