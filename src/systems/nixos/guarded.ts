import { failure, messageOf, OpsError, throwIfAborted, unreachable } from '../../core/errors.js'
import { pause } from '../../core/pause.js'
import type { Host } from '../../core/ssh.js'
import { bootMs, connect, hostOf } from '../../machine/connect.js'
import { journal, type MachineSession, updateJob } from '../../machine/machine.js'
import { type Followed, followUnit, goesOn } from '../follow-unit.js'
import { endOf, type Going } from './ends.js'
import { finishActivation, followedUntil, startGuard, takeGuardFile } from './steps.js'
import type { RunFile, SwitchState } from './switch-state.js'

/** Pause between two attempts to log in to a new system. */
const loginPauseMs = 1_000
/** Deadline for one attempt to log in. */
const loginMs = 20_000
/** Milliseconds for the guard: three attempts, a reboot, and a login. */
const guardMs = 3 * 310_000 + 2 * bootMs

/**
 * Follows an activation until a file appears in its folder. A new system may refuse logins for any reason, so each
 * failed login is tried again.
 */
export async function follow(going: Going, awaited: RunFile): Promise<Followed<SwitchState>> {
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
  // The connection of an earlier step may be lost, for example after a failed login.
  const host = session.host ?? (await logIn(session, Date.now() + guardMs))
  const followed = await followUnit({ host, reconnect }, followedUntil(activation, awaited), session.run, {
    seen: progress.lines,
    deadlineMs: guardMs,
  })
  progress.lines = followed.seen
  return followed
}

/**
 * Logs in again until either hydra-ops or the guard has taken the guard's file. Gives the reason if the guard was
 * faster.
 */
export async function confirmByLogin(
  going: Going,
): Promise<{ readonly kind: 'won' } | { readonly kind: 'lost'; readonly why: string }> {
  const { session, activation } = going
  const deadline = Date.now() + guardMs
  for (;;) {
    try {
      // A connection from before the switch proves nothing about the new system's sshd and network.
      const host = await connect(session, loginMs, { newConnection: true })
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

async function restBetweenLogins({ session, activation }: Going): Promise<void> {
  await pause(loginPauseMs, session.run.signal).catch(() => {
    throw goesOn({ machine: session.machine }, activation)
  })
}

/** Logs in, with retries until the deadline. */
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

/** Says why the guard was faster than the confirmation. */
export function unconfirmed({ progress: { trouble } }: Going): string {
  if (trouble === undefined) return 'nobody confirmed the new system in time'
  return `a new login to the new system failed: ${trouble}`
}

/** Starts the guard at once, and waits until the guard has finished. */
export async function goBack(going: Going, why: string): Promise<never> {
  const { session, activation, old } = going
  if (old === undefined) throw noSystem(session)
  session.run.log(`${why}; going back to ${old}`)
  await startGuard(hostOf(session), activation, old, session.run)
  return afterGuard(going, why)
}

/**
 * Waits until the guard has gone back to the old system, possibly by a reboot. Checks with a new login that the machine
 * can be used, then throws an error that names the cause.
 */
export async function afterGuard(going: Going, why: string): Promise<never> {
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

/** Removes the activation from the machine and from the record. */
export async function conclude({ session, activation }: Going, kept: boolean): Promise<void> {
  await finishActivation(hostOf(session), activation, kept, session.run)
  await updateJob(session, (draft) => {
    draft.activation = undefined
  })
}

export function noSystem({ machine }: MachineSession): Error {
  return failure(
    'ACTIVATION',
    `machine '${machine}' has no /run/current-system, so there is no way back from a switch`,
    {
      machine,
      hint: 'check that the machine runs NixOS',
    },
  )
}
