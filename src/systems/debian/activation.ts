import { describeEnd, requireSuccess } from '../../core/command-result.js'
import type { DeploymentUuid, StorePath } from '../../core/names.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { targetScript } from '../../remote/target-scripts.js'
import { type FollowOptions, followUnit, type Reconnecting } from '../follow-unit.js'
import { type ActivationState, readActivation } from './activation-state.js'

/** An activation as the record describes it before the start. */
export interface Activation {
  readonly unit: string
  /** Absolute path on the machine. */
  readonly log: string
  readonly path: StorePath
  /** Boot of the machine during which the activation started. */
  readonly bootId: string
}

export type ActivationResult =
  | { readonly kind: 'ok' }
  | {
      readonly kind: 'failed'
      /**
       * Exit status. 1: an error before or during changes to files. 2: the user's program failed. 4: units failed. 5: a
       * dropped item still exists. 6: the activation after the set-up tasks decides.
       */
      readonly code: number
      /** Units that failed. */
      readonly units: readonly string[]
      /** Last journal lines of the failed units. */
      readonly journal: readonly string[]
      /** End of the activation's log. */
      readonly log: readonly string[]
    }
  | { readonly kind: 'unknown'; readonly why: string }

const startMs = 2 * 60_000
const journalMs = 60_000

/** Starts the activation in a unit that needs no connection; `followActivation` finds out whether the unit started. */
export async function startActivation(
  host: Host,
  activation: Pick<Activation, 'unit' | 'log' | 'path'> & {
    readonly owner: DeploymentUuid
    readonly always: boolean
    /** Whether set-up tasks come next, so that parts that need a task may wait or fail. */
    readonly beforeTasks?: boolean
  },
  run: Run,
): Promise<void> {
  const what = 'start the activation'
  const { unit, log, path, owner, always, beforeTasks } = activation
  const flags = [...(always ? ['--always'] : []), ...(beforeTasks === true ? ['--before-tasks'] : [])]
  const values = { unit, log, closure: path, options: ['--owner', owner, ...flags] }
  const script = targetScript('debian/start-activation', values)
  const result = await host.script(script, [], { signal: run.signal, timeoutMs: startMs, what })
  // A lost connection leaves open whether the unit started; `followActivation` reads the unit's state.
  if (result.kind === 'lost') return
  requireSuccess(result, { machine: host.machine, what })
}

/**
 * Shows the log of an activation until its unit ends, over as many connections as necessary. Returns the result. An
 * earlier process may have started the activation.
 */
export async function followActivation(
  connection: Reconnecting,
  activation: Activation,
  run: Run,
  options: FollowOptions = {},
): Promise<ActivationResult> {
  const { unit, log } = activation
  const followed = {
    unit,
    log,
    script: (seen: number, seconds: number) =>
      targetScript('debian/follow-activation', { unit, log, seen, seconds }),
    read: (stdout: string) => endIn(readActivation(stdout, activation)),
  }
  const { state, log: lines, host } = await followUnit(connection, followed, run, options)
  return conclude(host, state, lines, run)
}

/** Removes the unit after its result has been read; a unit that is already gone is not an error. */
export async function finishActivation(host: Host, unit: string, run: Run): Promise<void> {
  const options = { signal: run.signal, timeoutMs: startMs, what: 'remove the unit of the activation' }
  const result = await host.script(targetScript('debian/finish-activation', { unit }), [], options)
  if (result.kind !== 'exited')
    run.log(`the unit ${unit} may still exist, because its removal failed: ${describeEnd(result)}`)
}

type Ended = Exclude<ActivationState, { kind: 'running' }>

function endIn(state: ActivationState): Ended | undefined {
  return state.kind === 'running' ? undefined : state
}

async function conclude(
  host: Host,
  state: Ended,
  log: readonly string[],
  run: Run,
): Promise<ActivationResult> {
  if (state.kind === 'unknown') return state
  if (state.code === 0) return { kind: 'ok' }
  const { code, units } = state
  return { kind: 'failed', code, units, log, journal: await journalOf(host, units, run) }
}

/** Reads journal lines as mere evidence: an error here must not hide the failure. */
async function journalOf(host: Host, units: readonly string[], run: Run): Promise<string[]> {
  if (units.length === 0) return []
  const options = {
    signal: run.signal,
    timeoutMs: journalMs,
    what: 'read the journal of the units that failed',
  }
  const result = await host.script(targetScript('debian/unit-journals', { units }), [], options)
  return result.stdout.split('\n').filter((line) => line !== '')
}
