import { builderLists, drainFolder, machinesIn, offerTask, useTask } from '../core/builder-offer.js'
import { builderRows, buildersUsedBy } from '../core/builder-rows.js'
import { failure, messageOf, throwIfAborted } from '../core/errors.js'
import type { MachineName } from '../core/names.js'
import type { Observation } from '../core/provider.js'
import type { BuilderRow } from '../core/reports.js'
import type { Host } from '../core/ssh.js'
import { bootMs, connect, hostOf, waitAndConnect } from '../machine/connect.js'
import {
  closeJob,
  journal,
  type MachineSession,
  recordedMachine,
  resourceFor,
  withLink,
} from '../machine/machine.js'
import { mayAnswerAgain } from '../machine/reboot.js'
import { askMachine, type Facts, fact } from '../remote/run-script.js'
import { waitUntil } from '../remote/wait-until.js'

/** Times of a drain, in milliseconds. */
export interface DrainTimes {
  /** Time within which running builds must end. */
  readonly deadlineMs: number
  /**
   * Time without any build after which the builder counts as idle. A queue runner reads its list again within 30 s
   * (measured), and may start builds until then.
   */
  readonly idleMs: number
  readonly pauseMs: number
}

/** Settings for the drain of builders that are about to go down; `undefined` in their place means no drain. */
export interface DrainChoice extends DrainTimes {
  /** Time for a machine that uses the builder to answer; that machine may be rebooting too. */
  readonly answerMs: number
}

export const usualDrain: DrainChoice = {
  deadlineMs: 60 * 60_000,
  idleMs: 40_000,
  pauseMs: 2_000,
  answerMs: bootMs,
}

/** Time for a builder to answer again after its connection was lost. */
const lostMs = 60_000

/** The way in which a machine is about to go down. */
export interface GoingDown {
  /** Participle for the error: the machine was not `rebooted`. */
  readonly how: 'rebooted' | 'stopped' | 'destroyed' | 'restored'
  /** Other machines that the same command takes down or restores; their builds are lost anyway. */
  readonly with?: readonly MachineName[] | undefined
}

/**
 * Takes a builder out of use before it goes down: no new build starts, and the running builds end. A machine that is
 * not a builder stays as it is, and so does a builder that a person drained. No builder may go down while a machine
 * that uses it does not answer. Such a machine may start a build at any time.
 */
export async function drainFirst(
  session: MachineSession,
  choice: DrainChoice | undefined,
  going: GoingDown,
): Promise<void> {
  const { machine, run } = session
  const rows = builderRows(session.deployment.record).filter(
    ({ builder, usedBy }) =>
      builder === machine && usedBy !== machine && going.with?.includes(usedBy) !== true,
  )
  if (rows.length === 0) return
  if (choice === undefined) {
    run.log(`${namesOf(rows)} may build here, and the builder is not drained first`)
    return
  }
  let queued = false
  for (const row of rows) {
    const facts = await setJobs(session, row, { drains: true, choice, how: going.how })
    if (facts?.get('read')?.includes(builderLists['queue runner'])) queued = true
  }
  await waitForBuilds(session, { ...choice, idleMs: queued ? choice.idleMs : 0 }, going.how)
}

/** Drains a builder as `drainFirst` does if the builder runs; a machine that is off has no builds. */
export async function drainIfRunning(
  session: MachineSession,
  choice: DrainChoice | undefined,
  going: GoingDown,
): Promise<void> {
  if (!isBuilder(session)) return
  const observed = await session.provider.inspect(await resourceFor(session), session.run)
  if (observed.kind !== 'running') return
  await withLink(session, () => drainFirst(session, choice, going))
}

/**
 * Runs an action that drains a builder and takes it down. A builder that is still up after a failure gets its jobs
 * back. An interrupted command (Ctrl-C) leaves that to the next command for the builder.
 */
export async function inUseAfterFailure<T>(session: MachineSession, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    await resumeIfUp(session)
    throw error
  }
}

/** Gives the jobs back to a drained builder after a failure, if the builder answers; never throws. */
export async function resumeIfUp(session: MachineSession): Promise<void> {
  const { run } = session
  if (run.signal.aborted || !isAwaited(session)) return
  try {
    if (await isUp(session)) await giveJobsBack(session)
  } catch (error) {
    run.log(messageOf(error))
  }
}

/**
 * Gives the jobs back to a builder that an earlier `drainFirst` drained, even if its process was killed. A drain by a
 * person stays. Returns whether there were jobs to give back.
 */
export async function giveJobsBack(session: MachineSession): Promise<boolean> {
  const rows = builderRows(session.deployment.record).filter(
    ({ builder, usedBy }) =>
      builder === session.machine && waitingFor(session, usedBy).includes(session.machine),
  )
  for (const row of rows) await setJobs(session, row, { drains: false, choice: usualDrain, how: 'resumed' })
  return rows.length > 0
}

/** Gives a builder its jobs back, or names the machines whose deploy gives them back. */
export async function resumeOrSay(session: MachineSession): Promise<boolean> {
  if (lacksOffer(session)) sayStaysDrained(session)
  return giveJobsBack(session)
}

/** Returns whether the record of a drained builder lacks its offer; a restored snapshot may be older than the offer. */
export function lacksOffer(session: MachineSession): boolean {
  return isAwaited(session) && !isBuilder(session)
}

/** Tells the user which machines keep a builder drained, and which deploy gives the jobs back. */
export function sayStaysDrained(session: MachineSession): void {
  const { ops, deployment, machine } = session
  const users = (Object.keys(deployment.record.machines) as MachineName[])
    .filter((user) => waitingFor(session, user).includes(machine))
    .map((user) => `'${user}'`)
  if (users.length === 0) return
  const deployed = isBuilder(session) ? users : [`'${machine}'`, ...users]
  const text = `builder '${machine}' stays drained on ${users.join(' and ')}; a deploy of ${deployed.join(' and ')} gives the jobs back`
  ops.events.emit({ kind: 'notice', text })
}

function isBuilder({ deployment, machine }: MachineSession): boolean {
  return builderRows(deployment.record).some(({ builder }) => builder === machine)
}

/**
 * Gives the jobs back to builders that a machine still keeps drained. The machine was off when the builders came back,
 * or the builders were recreated since then.
 */
export async function resumeBuildersOf(session: MachineSession): Promise<void> {
  const { ops, deployment, machine, run } = session
  const waiting = waitingFor(session, machine)
  for (const row of buildersUsedBy(deployment.record, machine)) {
    if (!waiting.includes(row.builder)) continue
    const builder = recordedMachine(ops, deployment, row.builder, run)
    if (await isUp(builder))
      await setJobs(builder, row, { drains: false, choice: usualDrain, how: 'resumed' })
  }
}

/** Returns whether a drained builder answers, and logs the reason if it does not. */
async function isUp(builder: MachineSession): Promise<boolean> {
  const { machine, provider, run } = builder
  const staysDrained = (why: string) => {
    run.log(`builder '${machine}' stays drained: ${why}`)
    return false
  }
  try {
    if (isOff(await provider.inspect(await resourceFor(builder), run))) return staysDrained('it is off')
    await connect(builder)
    return true
  } catch (error) {
    throwIfAborted(run.signal)
    return staysDrained(messageOf(error))
  } finally {
    closeJob(builder)
  }
}

function isOff({ kind }: Observation): boolean {
  return kind === 'stopped' || kind === 'absent'
}

/** Returns whether some machine waits for this builder to come back. */
export function isAwaited(session: MachineSession): boolean {
  return Object.values(session.deployment.record.machines).some((user) =>
    machinesIn(user.tasks[useTask]?.outputs.automatic).includes(session.machine),
  )
}

function waitingFor({ deployment }: MachineSession, user: MachineName): readonly MachineName[] {
  return machinesIn(deployment.record.machines[user]?.tasks[useTask]?.outputs.automatic)
}

interface Setting {
  readonly drains: boolean
  readonly choice: DrainChoice
  readonly how: string
}

/**
 * Stops or resumes the use of a builder on one machine that builds there. Returns the facts of that machine, or
 * undefined if the machine is off.
 */
async function setJobs(session: MachineSession, row: BuilderRow, wish: Setting): Promise<Facts | undefined> {
  const { ops, deployment, machine, run } = session
  const { drains } = wish
  const user = recordedMachine(ops, deployment, row.usedBy, run)
  try {
    if (isOff(await user.provider.inspect(await resourceFor(user), run))) {
      if (drains) run.log(`machine '${row.usedBy}', which builds here, is off`)
      else ops.events.emit({ kind: 'notice', text: keptFrom(machine, row.usedBy) })
      return undefined
    }
    const host = await answering(user, row, wish)
    const values = {
      lists: Object.values(builderLists),
      drained: drainFolder,
      name: machine,
      login: `${row.user}@${row.host}`,
      jobs: row.maxJobs,
      drains,
    }
    const what = `${drains ? 'take' : 'return'} the jobs of builder '${machine}'`
    // The script may take effect even if its answer is lost, so the drain is recorded first.
    if (drains) await remember(session, row.usedBy, { drained: true, automatic: true })
    const facts = await askMachine(host, { what, script: 'tasks/builders/drain', values }, run)
    const manual = fact(facts, 'before') === 'manual'
    if (manual || !drains) await remember(session, row.usedBy, { drained: manual, automatic: false })
    if (!manual) await journal(session, drains ? 'builder.drained' : 'builder.resumed', { data: row.usedBy })
    run.log(drains ? `'${row.usedBy}' begins no more builds here` : `'${row.usedBy}' may build here again`)
    return facts
  } finally {
    closeJob(user)
  }
}

function keptFrom(builder: MachineName, user: MachineName): string {
  return `builder '${builder}' stays drained on machine '${user}', which is off; the next start or deploy of '${user}' gives the jobs back`
}

async function answering(user: MachineSession, { builder }: BuilderRow, wish: Setting): Promise<Host> {
  try {
    return await waitAndConnect(user, wish.choice.answerMs)
  } catch (error) {
    throwIfAborted(user.run.signal)
    const { machine } = user
    throw wish.drains
      ? failure(
          'BUILDER_USER',
          `machine '${builder}' was not ${wish.how}: machine '${machine}' builds there and does not answer, so its builds cannot be stopped: ${messageOf(error)}`,
          {
            machine: builder,
            cause: error,
            hint: `start '${machine}' or wait for it; --no-drain skips the drain, and running builds fail`,
          },
        )
      : failure(
          'BUILDER_USER',
          `builder '${builder}' stays drained, because machine '${machine}' does not answer: ${messageOf(error)}`,
          { machine: builder, cause: error, hint: `hydra-ops builders resume ${builder}` },
        )
  }
}

/** Records in the state whether a builder is drained, and whether a later process ends the drain. */
async function remember(
  { deployment, machine }: MachineSession,
  user: MachineName,
  now: { readonly drained: boolean; readonly automatic: boolean },
): Promise<void> {
  // A deploy keeps its decisions about other machines in memory until their commit.
  await deployment.commit(user)
  await deployment.updateMachine(user, (draft) => {
    const task = draft.tasks[useTask]
    if (task === undefined) return
    const names = (text: string | undefined, listed: boolean) => {
      const others = machinesIn(text).filter((name) => name !== machine)
      return (listed ? [...others, machine] : others).join(',')
    }
    task.outputs = {
      ...task.outputs,
      drained: names(task.outputs.drained, now.drained),
      automatic: names(task.outputs.automatic, now.automatic),
    }
  })
}

async function waitForBuilds(
  session: MachineSession,
  times: DrainTimes,
  how: GoingDown['how'],
): Promise<void> {
  try {
    if (session.host === undefined) await connect(session)
  } catch (error) {
    throwIfAborted(session.run.signal)
    session.run.log(`${messageOf(error)}; its running builds cannot be awaited`)
    return
  }
  const hint = `--drain-deadline waits longer than ${Math.round(times.deadlineMs / 60_000)} min; --no-drain does not wait, and running builds fail`
  try {
    await untilIdle(session, times, { what: `the builder is idle and can be ${how}`, hint })
  } catch (error) {
    // A machine without a connection cannot be rebooted from inside.
    if (session.host !== undefined || how === 'rebooted') throw error
    throwIfAborted(session.run.signal)
    session.run.log(`${messageOf(error)}; its running builds cannot be awaited`)
  }
}

/**
 * Waits until no build of another machine runs on a builder. A lost connection is opened again. A builder that stays
 * silent ends the wait with the connection error.
 */
export async function untilIdle(
  session: MachineSession,
  { deadlineMs, idleMs, pauseMs }: DrainTimes,
  { what, hint }: { readonly what: string; readonly hint: string },
): Promise<void> {
  const { machine, run } = session
  const user = session.deployment.record.machines[machine]?.tasks[offerTask]?.outputs.user ?? ''
  const question = { what: 'count the running builds', script: 'tasks/builder/serving', values: { user } }
  let idleSince: number | undefined
  let silent: unknown
  const look = async () => {
    const told = fact(await askMachine(hostOf(session), question, run), 'serving')
    if (!/^\d+$/.test(told)) return 'the builder does not report its builds'
    const serving = Number(told)
    if (serving > 0) {
      idleSince = undefined
      return `${serving} ${serving === 1 ? 'build runs' : 'builds run'}`
    }
    idleSince ??= performance.now()
    const idle = performance.now() - idleSince
    return idle >= idleMs ? undefined : 'no build runs, but the lists of builders may not have been read'
  }
  const connectAgain = async (error: unknown) => {
    throwIfAborted(run.signal)
    if (!mayAnswerAgain(error)) throw error
    idleSince = undefined
    closeJob(session)
    await waitAndConnect(session, lostMs).catch((second: unknown) => {
      silent = second
    })
    return messageOf(error)
  }
  const options = { what, code: 'BUILDER_BUSY', deadlineMs, pauseMs, hint }
  await waitUntil(machine, run, {
    ...options,
    wrong: () => look().catch(connectAgain),
    hopeless: async () => (silent === undefined ? undefined : messageOf(silent)),
  }).catch((error: unknown) => {
    throw silent ?? error
  })
}

function namesOf(rows: readonly BuilderRow[]): string {
  return rows.map(({ usedBy }) => `'${usedBy}'`).join(', ')
}
