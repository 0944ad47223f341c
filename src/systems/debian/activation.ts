import { describeEnd, requireSuccess } from '../../core/command-result.js'
import { failure, interrupted, messageOf, OpsError } from '../../core/errors.js'
import type { DeploymentUuid, StorePath } from '../../core/names.js'
import { pause } from '../../core/pause.js'
import type { Run } from '../../core/run.js'
import type { CommandResult, Host } from '../../core/ssh.js'
import { targetScript } from '../../remote/target-scripts.js'
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
       * Exit status. 1: before or during changes to files; 2: the user's program; 4: units; 5: a dropped item is still
       * there; 6: the activation after the set-up tasks judges.
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

export interface FollowOptions {
  /** Milliseconds until we stop following; the activation itself has no limit. */
  readonly deadlineMs?: number
  /** Milliseconds between attempts to reconnect. */
  readonly retryMs?: number
}

const startMs = 2 * 60_000
const journalMs = 60_000
const followMs = 30 * 60_000
const logLines = 20
/** Grace time in which a remote loop that ends by itself can say so. */
const graceMs = 30_000

/** Starts the activation in a unit that needs no connection; `followActivation` sees whether it started. */
export async function startActivation(
  host: Host,
  activation: Pick<Activation, 'unit' | 'log' | 'path'> & {
    readonly owner: DeploymentUuid
    readonly always: boolean
    /** Whether set-up tasks come next, so that parts which need one of them may wait or fail. */
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
  // A lost connection leaves open whether the unit started; the unit itself tells.
  if (result.kind === 'lost') return
  requireSuccess(result, { machine: host.machine, what })
}

/**
 * Shows the log of an activation until its unit ends, over as many connections as necessary. Returns the result. The
 * activation may also be an earlier process's.
 */
export async function followActivation(
  connection: { readonly host: Host; reconnect(): Promise<Host> },
  activation: Activation,
  run: Run,
  options: FollowOptions = {},
): Promise<ActivationResult> {
  const deadline = Date.now() + (options.deadlineMs ?? followMs)
  const seen = { lines: [] as string[], count: 0 }
  let host = connection.host
  for (;;) {
    const state = await followOnce(host, activation, seen, { run, deadline })
    if (state !== undefined) return conclude(host, state, seen.lines, run)
    host = await connectAgain(connection, activation, { run, deadline, retryMs: options.retryMs ?? 2_000 })
  }
}

/** Removes the unit once its result was read; a unit that is gone already is fine. */
export async function finishActivation(host: Host, unit: string, run: Run): Promise<void> {
  const options = { signal: run.signal, timeoutMs: startMs, what: 'remove the unit of the activation' }
  const result = await host.script(targetScript('debian/finish-activation', { unit }), [], options)
  if (result.kind !== 'exited')
    run.log(`the unit ${unit} may still exist, because its removal failed: ${describeEnd(result)}`)
}

interface Following {
  readonly run: Run
  /** Milliseconds since the epoch. */
  readonly deadline: number
}

type Ended = Exclude<ActivationState, { kind: 'running' }>

/** Follows with one long-lived command on the machine; returns `undefined` if the connection breaks. */
async function followOnce(
  host: Host,
  activation: Activation,
  seen: { lines: string[]; count: number },
  { run, deadline }: Following,
): Promise<Ended | undefined> {
  const left = deadline - Date.now()
  if (left <= 0) throw tooLate(host, activation)
  const onLine = (line: string, stream: 'stdout' | 'stderr') => {
    if (stream !== 'stdout' || !line.startsWith('log ')) return
    const text = line.slice('log '.length)
    seen.count += 1
    seen.lines = [...seen.lines.slice(1 - logLines), text]
    run.log(text)
  }
  const { unit, log } = activation
  const values = { unit, log, seen: seen.count, seconds: Math.ceil(left / 1_000) }
  let result: CommandResult
  try {
    result = await host.script(targetScript('debian/follow-activation', values), [], {
      signal: run.signal,
      timeoutMs: left + graceMs,
      what: 'follow the activation',
      onLine,
    })
  } catch (error) {
    if (run.signal.aborted) throw goesOn(host, activation)
    if (isConnectionTrouble(error)) return undefined
    throw error
  }
  if (result.kind === 'lost') return undefined
  const { stdout } = requireSuccess(result, { machine: host.machine, what: 'follow the activation' })
  const state = readActivation(stdout, activation)
  if (state.kind === 'running') throw tooLate(host, activation)
  return state
}

async function connectAgain(
  connection: { readonly host: Host; reconnect(): Promise<Host> },
  activation: Activation,
  { run, deadline, retryMs }: Following & { readonly retryMs: number },
): Promise<Host> {
  run.log('the connection is lost, but the activation continues; connecting again')
  for (;;) {
    try {
      return await connection.reconnect()
    } catch (error) {
      if (run.signal.aborted) throw goesOn(connection.host, activation)
      if (!isConnectionTrouble(error)) throw error
      if (Date.now() + retryMs >= deadline) throw error
      run.log(`${messageOf(error)}; trying again`)
    }
    await pause(retryMs, run.signal).catch(() => {
      throw goesOn(connection.host, activation)
    })
  }
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

/** Reads journal lines as mere evidence: an error here must not hide what failed. */
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

function isConnectionTrouble(error: unknown): boolean {
  return error instanceof OpsError && (error.code === 'UNREACHABLE' || error.code === 'CONNECTION_LOST')
}

function goesOn(host: Host, activation: Activation): OpsError {
  return interrupted(
    `interrupted; the activation on '${host.machine}' continues there (unit ${activation.unit})`,
    { machine: host.machine, hint: 'the next deploy reads the result of the activation' },
  )
}

function tooLate(host: Host, activation: Activation): OpsError {
  return failure(
    'DEADLINE',
    `machine '${host.machine}': the activation did not end in time; it continues on the machine`,
    {
      machine: host.machine,
      hint: `to watch the activation, run: hydra-ops ssh ${host.machine} -- tail -f ${activation.log}; the next deploy reads its result`,
    },
  )
}
