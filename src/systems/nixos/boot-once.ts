import { failure, messageOf, type OpsError, throwIfAborted } from '../../core/errors.js'
import { pause } from '../../core/pause.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { bootMs, connect, hostOf, waitAndConnect } from '../../machine/connect.js'
import { startResource } from '../../machine/lifecycle.js'
import { journal, type MachineSession, resourceFor, updateJob } from '../../machine/machine.js'
import { askForReboot } from '../../machine/reboot.js'
import { askMachine, fact, runScript } from '../../remote/run-script.js'
import { placedScript, targetScript } from '../../remote/target-scripts.js'
import { followUnit } from '../follow-unit.js'
import { bootOnceFolder, bootOnceProfile, type NixosActivation, systemProfile } from './places.js'
import { followedUntil } from './steps.js'
import { surveyNixos } from './survey.js'

/** Times of a one-time boot in seconds. */
export interface BootOnceTimes {
  /** Uptime of the new system at which an unconfirmed boot ends with a reboot into the old system. */
  readonly fallback: number
  /** Time without a login after the request to reboot, until the provider cuts the power. */
  readonly hang: number
}

/** `hang` is longer, because the fallback may need two minutes to force its reboot, and the old system then boots. */
export const usualBootTimes: BootOnceTimes = { fallback: 330, hang: 900 }

/** Deadline for the boot menu, which may copy a kernel to a slow disk. */
const prepareMs = 15 * 60_000
const pauseMs = 1_000

/** An activation whose system is booted once. */
export interface BootingOnce {
  readonly session: MachineSession
  readonly activation: NixosActivation
  readonly progress: { lines: number }
}

/** State of a one-time boot, as the machine reports it (target/nixos/boot-confirm.sh). */
interface BootState {
  readonly bootId: string
  readonly current: string
  /** Whether the current boot is the one-time boot. */
  readonly entered: boolean
  readonly state: string
  readonly won: boolean
}

/** Returns the machine's boot loader, and any reason why the machine cannot boot another system once. */
export async function lookAtBootLoader(
  host: Host,
  run: Run,
): Promise<{ readonly loader: string; readonly obstacle: string | undefined }> {
  const what = 'look at the boot loader'
  const values = { profile: systemProfile }
  const facts = await askMachine(host, { what, script: 'nixos/boot-check', values }, run)
  return { loader: fact(facts, 'loader'), obstacle: fact(facts, 'obstacle') || undefined }
}

/** Refuses a one-time boot before anything is switched, if the machine does not support such a boot. */
export async function requireBootOnce(session: MachineSession): Promise<void> {
  const { obstacle } = await lookAtBootLoader(hostOf(session), session.run)
  if (obstacle !== undefined) throw refused(session, obstacle)
}

/**
 * Boots the new system once, while the old system stays the boot default, and confirms the boot by a login. Returns the
 * activation in its new boot; throws an error if the machine went back (docs/safety.md).
 */
export async function bootOnce(
  going: BootingOnce,
  times: BootOnceTimes = usualBootTimes,
): Promise<NixosActivation> {
  const { session, activation } = going
  const { loader, obstacle } = await lookAtBootLoader(hostOf(session), session.run)
  if (obstacle !== undefined) throw refused(session, obstacle)
  const { profile: old } = await surveyNixos(hostOf(session), session.run)
  if (old === undefined) throw refused(session, `there is no system in ${systemProfile} to fall back to`)
  await journal(session, 'boot-once.start', { data: { path: activation.path, old, loader } })
  const prepared = await prepare(going, { old, loader, times })
  if (prepared !== '0') {
    await forget(session, activation, true)
    throw refused(session, prepared?.replace(/^1 /, '') ?? 'its unit ended without a result')
  }
  session.run.log('booting the new system once')
  await journal(session, 'boot-once.reboot')
  await askForReboot(session)
  return awaitBoot(going, times)
}

/**
 * Continues a one-time boot that an earlier process began: this process's login confirms the boot. Returns `undefined`
 * if the machine has no such boot, or never entered the boot.
 */
export async function takeOverBootOnce(
  going: BootingOnce,
  times: BootOnceTimes = usualBootTimes,
): Promise<NixosActivation | undefined> {
  const { session, activation } = going
  const seen = await confirm(hostOf(session), activation, session.run)
  if (seen.state === 'none') return undefined
  if (!seen.won && seen.bootId === activation.bootId) {
    session.run.log('an earlier run prepared a boot of the new system, and the machine was not rebooted')
    await forget(session, activation, true)
    return undefined
  }
  return judge(going, seen, times, '')
}

/**
 * Waits for the next boot of the machine, and cuts the power of a machine that hangs. Confirms the boot, or throws an
 * error that describes the failure.
 */
async function awaitBoot(going: BootingOnce, times: BootOnceTimes): Promise<NixosActivation> {
  const { session, activation } = going
  const seen = await nextBoot(going, activation.bootId, times.hang * 1_000)
  if (seen.up !== undefined) return judge(going, seen.up, times, seen.trouble)
  const why = `the machine did not come up within ${times.hang} s`
  await cutPower(session, why)
  const again = await nextBoot(going, activation.bootId, bootMs)
  if (again.up === undefined) {
    throw failure(
      'REBOOT',
      `machine '${session.machine}' did not come up after its power was cut: ${again.trouble}`,
      {
        machine: session.machine,
        hint: `hydra-ops console ${session.machine} --log`,
      },
    )
  }
  return judge(going, again.up, times, `${why}, so its power was cut`)
}

/** Judges a boot. If the fallback is already rebooting the machine, waits for the next boot too. */
async function judge(
  going: BootingOnce,
  seen: BootState,
  times: BootOnceTimes,
  trouble: string,
): Promise<NixosActivation> {
  const { session, activation } = going
  if (seen.won) {
    await forget(session, activation, false)
    await journal(session, 'boot-once.confirmed')
    await updateJob(session, (draft) => {
      draft.facts = { ...draft.facts, bootId: seen.bootId }
      if (draft.activation !== undefined) draft.activation = { ...draft.activation, bootId: seen.bootId }
    })
    session.changed = true
    return { ...activation, bootId: seen.bootId }
  }
  if (seen.entered) {
    session.run.log('the machine goes back to its old system; waiting for the boot')
    const next = await nextBoot(going, seen.bootId, times.hang * 1_000)
    if (next.up !== undefined && !next.up.entered) return judge(going, next.up, times, trouble)
    throw failure(
      'REBOOT',
      `machine '${session.machine}' did not go back to its old system, although nobody confirmed the new system`,
      {
        machine: session.machine,
        hint: `hydra-ops console ${session.machine} --log`,
      },
    )
  }
  const why = whyBack(seen, trouble)
  await forget(session, activation, true)
  await journal(session, 'boot-once.back', { data: why })
  throw failure(
    'WENT_BACK',
    `machine '${session.machine}' went back to its old system by rebooting: ${why}`,
    {
      machine: session.machine,
      hint: `hydra-ops console ${session.machine} --log`,
    },
  )
}

function whyBack({ state }: BootState, trouble: string): string {
  if (state === 'fired')
    return `nobody confirmed the new system in time${trouble === '' ? '' : `: ${trouble}`}`
  if (trouble.includes('power was cut')) return trouble
  return 'the boot of the new system ended before a login, for example by a panic or a power cut'
}

/** Waits until a login reaches a boot other than `before`. Confirms the new boot if it is the one-time boot. */
async function nextBoot(
  { session, activation }: BootingOnce,
  before: string,
  timeoutMs: number,
): Promise<{ readonly up: BootState | undefined; readonly trouble: string }> {
  const deadline = Date.now() + timeoutMs
  let trouble = ''
  for (;;) {
    const left = deadline - Date.now()
    if (left <= 0) return { up: undefined, trouble }
    try {
      const host = await waitAndConnect(session, left)
      const up = await confirm(host, activation, session.run)
      if (up.bootId !== before) return { up, trouble }
    } catch (error) {
      // A new system may refuse logins for any reason; its fallback then reboots the machine.
      throwIfAborted(session.run.signal)
      trouble = messageOf(error)
      session.run.log(`${trouble}; trying again`)
    }
    await pause(pauseMs, session.run.signal)
  }
}

async function cutPower(session: MachineSession, why: string): Promise<void> {
  const { machine, provider } = session
  if (!provider.makesMachines) {
    throw failure(
      'REBOOT',
      `machine '${machine}': ${why}, and provider ${provider.name} cannot cut its power`,
      {
        machine,
        hint: 'cut the power of the machine by hand, so that its next boot starts the old system; deploy again afterwards',
      },
    )
  }
  session.run.log(`${why}; cutting its power`)
  await journal(session, 'boot-once.power-cut')
  await provider.stop(await resourceFor(session), { graceMs: 0 }, session.run)
  await startResource(session)
}

interface Preparation {
  /** System that stays the boot default. */
  readonly old: string
  readonly loader: string
  readonly times: BootOnceTimes
}

/** Prepares the boot in a separate unit; returns the unit's result. */
async function prepare(going: BootingOnce, wish: Preparation): Promise<string | undefined> {
  const { session, activation, progress } = going
  const { machine } = session
  await runScript(
    hostOf(session),
    {
      what: 'prepare a boot of the new system',
      script: 'nixos/boot-start',
      values: {
        unit: activation.prepareUnit,
        log: activation.log,
        folder: activation.folder,
        old: wish.old,
        prepare: prepareScript(activation, wish),
      },
    },
    session.run,
  )
  const followed = await followUnit(
    { host: hostOf(session), reconnect: () => connect(session) },
    followedUntil(activation, 'prepared'),
    session.run,
    { seen: progress.lines, deadlineMs: prepareMs },
  )
  progress.lines = followed.seen
  if (followed.state.bootId === activation.bootId) return followed.state.files.get('prepared')
  throw failure('REBOOT', `machine '${machine}' was restarted while a boot of the new system was prepared`, {
    machine,
    hint: 'deploy again; each deploy looks at the machine first',
  })
}

/** Builds the script that stays on the machine; a test runs the script without systemd. */
export function prepareScript(
  { run, folder, path, log }: NixosActivation,
  { old, loader, times }: Preparation,
): string {
  const once = bootOnceFolder
  return targetScript('nixos/boot-prepare', {
    run,
    old,
    new: path,
    folder,
    once,
    profile: bootOnceProfile,
    loader,
    fallback: placedScript('nixos/fallback', { old, once, log }),
    fallback_seconds: times.fallback,
  })
}

async function confirm(host: Host, { run: id, path }: NixosActivation, run: Run): Promise<BootState> {
  const what = 'confirm the boot of the new system'
  const values = { run: id, new: path, once: bootOnceFolder }
  const facts = await askMachine(host, { what, script: 'nixos/boot-confirm', values }, run)
  return {
    bootId: fact(facts, 'boot'),
    current: fact(facts, 'current'),
    entered: fact(facts, 'entered') === 'yes',
    state: fact(facts, 'state'),
    won: fact(facts, 'won') === 'yes',
  }
}

/** Removes all parts of a one-time boot from the machine; `menu` also generates the boot menu again. */
export async function forget(
  session: MachineSession,
  { run: id, prepareUnit: unit, log }: NixosActivation,
  menu: boolean,
): Promise<void> {
  const values = {
    run: id,
    unit,
    once: bootOnceFolder,
    profile: bootOnceProfile,
    default: systemProfile,
    menu,
    log,
  }
  const what = 'remove the boot of the new system from the boot menu'
  await runScript(
    hostOf(session),
    { what, script: 'nixos/boot-forget', values, timeoutMs: prepareMs },
    session.run,
  )
}

function refused({ machine }: MachineSession, why: string): OpsError {
  return failure(
    'BOOT_ONCE',
    `machine '${machine}' cannot boot the new system once: ${why}; nothing was rebooted`,
    {
      machine,
      hint: 'with --no-boot-once, the new system becomes the boot default before its first boot',
    },
  )
}
