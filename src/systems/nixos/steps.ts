import { commandFailure, requireSuccess } from '../../core/command-result.js'
import { failure } from '../../core/errors.js'
import { ownerFile } from '../../core/machine-places.js'
import type { DeploymentUuid } from '../../core/names.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import type { ScriptValues } from '../../core/target-file.js'
import { askMachine, fact, runScript } from '../../remote/run-script.js'
import { placedScript, targetScript } from '../../remote/target-scripts.js'
import type { FollowedUnit } from '../follow-unit.js'
import {
  awaitsFile,
  bootOnceFolder,
  bootOnceProfile,
  type NixosActivation,
  pendingFile,
  systemProfile,
} from './places.js'
import { type RunFile, readSwitchState, type SwitchState } from './switch-state.js'

/** Times of an activation in seconds. */
export interface ActivationTimes {
  /** Longest run of switch-to-configuration, before the guard ends it. */
  readonly activation: number
  /** Time for a new login, after the switch and the watch. */
  readonly confirm: number
  /** Time for which the services are watched after each switch. */
  readonly watch: number
  /** Additional time if a service waits for its next start. */
  readonly watchLonger: number
  /** Pause between two samples of the services. */
  readonly sample: number
  /** Maximum time for one attempt of the guard to go back. */
  readonly attempt: number
  /** Pause between two attempts of the guard. */
  readonly pause: number
}

export const usualTimes: ActivationTimes = {
  activation: 900,
  confirm: 30,
  watch: 15,
  watchLonger: 30,
  sample: 3,
  attempt: 300,
  pause: 5,
}

export interface Beginning {
  /** System that runs now. The activation does not begin if a different system runs. */
  readonly running: string
  /** System that the guard goes back to. */
  readonly old: string
  readonly owner: DeploymentUuid
  /** Argument for switch-to-configuration; `none` only prepares `keep`. */
  readonly action: 'test' | 'dry-activate' | 'none'
  readonly guarded: boolean
  readonly times: ActivationTimes
}

const startMs = 3 * 60_000

/** Arms the guard and starts the activation; a lost connection leaves open whether the activation began. */
export async function beginActivation(
  host: Host,
  activation: NixosActivation,
  beginning: Beginning,
  run: Run,
): Promise<void> {
  const { machine } = host
  const what = 'start the activation'
  const script = targetScript('nixos/begin', beginValues(activation, beginning))
  const result = await host.script(script, [], { signal: run.signal, timeoutMs: startMs, what })
  if (result.kind === 'lost') return
  if (result.kind === 'exited' && result.code === 0) return
  const why = result.stderr.trim()
  if (result.kind === 'exited' && result.code === 75) {
    throw failure('BUSY', `machine '${machine}' is busy: ${why}; nothing was switched`, {
      machine,
      hint: 'wait until that activation has ended, then deploy again',
    })
  }
  if (result.kind === 'exited' && (result.code === 76 || result.code === 77 || result.code === 78)) {
    throw failure('ACTIVATION', `machine '${machine}': nothing was switched: ${why}`, {
      machine,
      hint: 'deploy again; each deploy looks at the machine first',
    })
  }
  throw commandFailure(result, { machine, what })
}

/** Returns the values of the `begin` script, including the scripts that stay on the machine. */
export function beginValues(
  { run, unit, log, folder, path }: NixosActivation,
  { running, old, owner, action, guarded, times }: Beginning,
): ScriptValues {
  const systems = { old, new: path }
  return {
    run,
    unit,
    log,
    folder,
    running,
    ...systems,
    owner,
    owner_file: ownerFile,
    action,
    guarded,
    once: bootOnceFolder,
    once_profile: bootOnceProfile,
    profile: systemProfile,
    activation_seconds: times.activation + times.watch + times.confirm,
    arm: placedScript('nixos/arm', { old, folder, run }),
    guard: placedScript('nixos/guard', {
      old,
      run,
      folder,
      unit,
      log,
      attempt_seconds: times.attempt,
      pause_seconds: times.pause,
    }),
    switch: placedScript('nixos/switch', {
      ...systems,
      folder,
      action,
      watch_seconds: times.watch,
      watch_longer_seconds: times.watchLonger,
      sample_seconds: times.sample,
      confirm_seconds: times.confirm,
    }),
    keep: placedScript('nixos/keep', {
      ...systems,
      folder,
      profile: systemProfile,
      pending: pendingFile,
      awaits: awaitsFile,
    }),
  }
}

/** Describes the unit to follow until the awaited file appears. */
export function followedUntil(
  { run, unit, keepUnit, prepareUnit, log, folder, bootId }: NixosActivation,
  awaited: RunFile,
): FollowedUnit<SwitchState> {
  const followed = awaited === 'kept' ? keepUnit : awaited === 'prepared' ? prepareUnit : unit
  return {
    unit: followed,
    log,
    script: (seen, seconds) =>
      targetScript('nixos/follow', {
        unit: followed,
        guards: `hydra-ops-guard-${run}-*.service`,
        log,
        folder,
        await: awaited,
        boot_id: bootId,
        seen,
        seconds,
      }),
    read: (stdout) => readSwitchState(stdout, { unit: followed, bootId }, awaited),
  }
}

/** Takes the guard's file over a login that is newer than the switch; returns false if the guard was faster. */
export async function takeGuardFile(
  host: Host,
  { run: id, folder }: NixosActivation,
  name: 'confirmed' | 'abandoned',
  run: Run,
): Promise<boolean> {
  const what = 'confirm the new system'
  const facts = await askMachine(
    host,
    { what, script: 'nixos/confirm', values: { run: id, folder, name } },
    run,
  )
  return fact(facts, 'won') === 'yes'
}

/** Starts the guard at once. */
export async function startGuard(
  host: Host,
  { run: id, folder }: NixosActivation,
  old: string,
  run: Run,
): Promise<void> {
  const values = { run: id, folder, old }
  await runScript(host, { what: 'go back to the earlier system', script: 'nixos/undo', values }, run)
}

/** Starts the unit that makes the new system the boot default. */
export async function startKeep(
  host: Host,
  { keepUnit: unit, log, folder }: NixosActivation,
  old: string,
  run: Run,
): Promise<void> {
  const what = 'make the new system the boot default'
  const script = targetScript('nixos/start-keep', { unit, log, folder, old })
  const result = await host.script(script, [], { signal: run.signal, timeoutMs: startMs, what })
  // A lost connection leaves open whether the unit started; `follow` finds out.
  if (result.kind !== 'lost') requireSuccess(result, { machine: host.machine, what })
}

/** Removes the units and the garbage-collector roots of an activation whose result has been read. */
export async function finishActivation(
  host: Host,
  { run: id, unit, keepUnit, folder }: NixosActivation,
  kept: boolean,
  run: Run,
): Promise<void> {
  const values = { run: id, units: [unit, keepUnit], folder, profile: systemProfile, kept }
  await runScript(host, { what: 'remove the units of the activation', script: 'nixos/finish', values }, run)
}
