import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Ops } from '../core/context.js'
import { usageError } from '../core/errors.js'
import type { RunLog } from '../core/reports.js'
import { suggest } from '../core/suggest.js'
import { wholeRunLog } from '../machine/run-logs.js'
import { inNaturalOrder } from '../network/natural-order.js'

export interface LogRequest {
  readonly deployment: string | undefined
  readonly machine: string | undefined
  /** Run, or the beginning of its name; `undefined` means the last run. */
  readonly run: string | undefined
}

/** Lists the logged runs, oldest first. */
export async function loggedRuns(ops: Ops, deployment: string | undefined): Promise<string[]> {
  const { logs } = ops.files.paths((await ops.store.resolve(deployment)).uuid)
  return existsSync(logs) ? readdirSync(logs).sort() : []
}

/** Reads the log of a run: the whole log, or one machine's part. */
export async function readLogs(ops: Ops, request: LogRequest): Promise<RunLog> {
  const { logs } = ops.files.paths((await ops.store.resolve(request.deployment)).uuid)
  const runs = await loggedRuns(ops, request.deployment)
  if (runs.length === 0) throw usageError('this deployment has no logs yet', { hint: 'hydra-ops deploy' })
  const { machine } = request
  const run = request.run === undefined ? lastRun(logs, runs, machine) : namedRun(runs, request.run)
  if (machine !== undefined && !machinesIn(logs, run).includes(machine)) {
    throw noLogOf(machine, run, logs, runs)
  }
  const wanted = machine === undefined ? filesIn(logs, run) : [machine]
  return {
    run,
    machines: wanted.map((name) => ({
      machine: name === wholeRunLog ? undefined : name,
      text: readFileSync(join(logs, run, `${name}.log`), 'utf8'),
    })),
  }
}

/** Returns the last run, or the machine's last run. */
function lastRun(logs: string, runs: readonly string[], machine: string | undefined): string {
  const found = runs.findLast((run) => machine === undefined || machinesIn(logs, run).includes(machine))
  return found ?? runs.at(-1) ?? ''
}

function namedRun(runs: readonly string[], wanted: string): string {
  const found = runs.filter((run) => run === wanted || run.startsWith(wanted))
  const [only] = found
  if (only !== undefined && (found.length === 1 || only === wanted)) return only
  if (found.length > 1)
    throw usageError(`the ids of several runs begin with '${wanted}': ${found.join(', ')}`)
  const close = suggest(wanted, runs)
  throw usageError(`there is no run '${wanted}'`, {
    hint: close === undefined ? 'hydra-ops logs --list shows all runs' : `did you mean '${close}'?`,
  })
}

function machinesIn(logs: string, run: string): string[] {
  return filesIn(logs, run).filter((name) => name !== wholeRunLog)
}

/** Lists the logs of a run by name: the log of the whole run, and of each machine with output. */
function filesIn(logs: string, run: string): string[] {
  const names = readdirSync(join(logs, run)).flatMap((file) =>
    file.endsWith('.log') ? [file.slice(0, -4)] : [],
  )
  return inNaturalOrder(names)
}

function noLogOf(machine: string, run: string, logs: string, runs: readonly string[]): Error {
  const all = [...new Set(runs.flatMap((each) => machinesIn(logs, each)))]
  const has = machinesIn(logs, run).join(', ') || 'no machine'
  const close = all.includes(machine) ? undefined : suggest(machine, all)
  return usageError(`run ${run} has no log of a machine '${machine}'`, {
    hint: close === undefined ? `the run has logs of: ${has}` : `did you mean '${close}'?`,
  })
}
