import { requireSuccess } from '../core/command-result.js'
import { failure, interrupted, messageOf, OpsError } from '../core/errors.js'
import { pause } from '../core/pause.js'
import type { Run } from '../core/run.js'
import type { CommandResult, Host } from '../core/ssh.js'

/** A connection, and the function that opens a new connection after a break. */
export interface Reconnecting {
  readonly host: Host
  reconnect(): Promise<Host>
}

/** A unit of an activation, with the script that follows the unit. */
export interface FollowedUnit<State> {
  readonly unit: string
  /** Absolute path of the log on the machine. */
  readonly log: string
  /**
   * Builds the script. The script prints `log LINE` for each log line after the first `seen`, and ends within
   * `seconds`.
   */
  script(seen: number, seconds: number): string
  /** Reads the output of the script; `undefined` means that the time limit came first. */
  read(stdout: string): State | undefined
}

export interface FollowOptions {
  /** Milliseconds until hydra-ops stops following; the activation itself has no limit. */
  readonly deadlineMs?: number
  /** Milliseconds between attempts to reconnect. */
  readonly retryMs?: number
  /** Number of log lines that have already been shown. */
  readonly seen?: number
}

export interface Followed<State> {
  readonly state: State
  /** Last lines of the log. */
  readonly log: readonly string[]
  /** Number of log lines that were shown. */
  readonly seen: number
  /** Connection that was in use at the end. */
  readonly host: Host
}

const followMs = 30 * 60_000
const logLines = 20
/** Extra time for a remote loop that ends by itself to report its end. */
const graceMs = 30_000

interface Following {
  readonly run: Run
  /** Deadline in milliseconds since the epoch. */
  readonly deadline: number
}

/** Shows the log of a unit until the unit ends, over as many connections as necessary. */
export async function followUnit<State>(
  connection: Reconnecting,
  unit: FollowedUnit<State>,
  run: Run,
  options: FollowOptions = {},
): Promise<Followed<State>> {
  const deadline = Date.now() + (options.deadlineMs ?? followMs)
  const seen = { lines: [] as string[], count: options.seen ?? 0 }
  let host = connection.host
  for (;;) {
    const state = await followOnce(host, unit, seen, { run, deadline })
    if (state !== undefined) return { state, log: seen.lines, seen: seen.count, host }
    host = await connectAgain(connection, unit, { run, deadline, retryMs: options.retryMs ?? 2_000 })
  }
}

/** Follows with one long-lived command on the machine; returns `undefined` if the connection breaks. */
async function followOnce<State>(
  host: Host,
  unit: FollowedUnit<State>,
  seen: { lines: string[]; count: number },
  { run, deadline }: Following,
): Promise<State | undefined> {
  const left = deadline - Date.now()
  if (left <= 0) throw tooLate(host, unit)
  const onLine = (line: string, stream: 'stdout' | 'stderr') => {
    if (stream !== 'stdout' || !line.startsWith('log ')) return
    const text = line.slice('log '.length)
    seen.count += 1
    seen.lines = [...seen.lines.slice(1 - logLines), text]
    run.log(text)
  }
  let result: CommandResult
  try {
    result = await host.script(unit.script(seen.count, Math.ceil(left / 1_000)), [], {
      signal: run.signal,
      timeoutMs: left + graceMs,
      what: 'follow the activation',
      onLine,
    })
  } catch (error) {
    if (run.signal.aborted) throw goesOn(host, unit)
    if (isConnectionTrouble(error)) return undefined
    throw error
  }
  if (result.kind === 'lost') return undefined
  const { stdout } = requireSuccess(result, { machine: host.machine, what: 'follow the activation' })
  const state = unit.read(stdout)
  if (state === undefined) throw tooLate(host, unit)
  return state
}

async function connectAgain(
  connection: Reconnecting,
  unit: Pick<FollowedUnit<unknown>, 'unit' | 'log'>,
  { run, deadline, retryMs }: Following & { readonly retryMs: number },
): Promise<Host> {
  run.log('the connection is lost, but the activation continues; connecting again')
  for (;;) {
    try {
      return await connection.reconnect()
    } catch (error) {
      if (run.signal.aborted) throw goesOn(connection.host, unit)
      if (!isConnectionTrouble(error)) throw error
      if (Date.now() + retryMs >= deadline) throw error
      run.log(`${messageOf(error)}; trying again`)
    }
    await pause(retryMs, run.signal).catch(() => {
      throw goesOn(connection.host, unit)
    })
  }
}

/** Tells whether an error means that the machine cannot be reached at the moment. */
export function isConnectionTrouble(error: unknown): boolean {
  return error instanceof OpsError && (error.code === 'UNREACHABLE' || error.code === 'CONNECTION_LOST')
}

/** Builds the error for an interruption while the machine continues without hydra-ops. */
export function goesOn(host: Pick<Host, 'machine'>, { unit }: { readonly unit: string }): OpsError {
  return interrupted(`interrupted; the activation on '${host.machine}' continues there (unit ${unit})`, {
    machine: host.machine,
    hint: 'the next deploy reads the result of the activation',
  })
}

function tooLate(host: Host, { log }: { readonly log: string }): OpsError {
  return failure(
    'DEADLINE',
    `machine '${host.machine}': the activation did not end in time; it continues on the machine`,
    {
      machine: host.machine,
      hint: `run hydra-ops ssh ${host.machine} -- tail -f ${log} to watch the activation; the next deploy reads its result`,
    },
  )
}
