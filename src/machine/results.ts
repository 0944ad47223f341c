import type { Ops } from '../core/context.js'
import type { MachineResult } from '../core/events.js'
import type { DeploymentSession } from '../core/session.js'
import { settleAll } from '../core/settle.js'

/** Creates the result of a machine whose work was due and never began. */
export function notBegun(
  { machine }: Pick<MachineResult, 'machine'>,
  facts: Pick<MachineResult, 'reason' | 'hint'> = {},
): MachineResult {
  return { machine, outcome: 'skipped', notBegun: true, seconds: 0, ...facts }
}

/** Records the result of each machine, which `--retry-failed` reads. */
export async function recordResults(
  deployment: DeploymentSession,
  results: readonly MachineResult[],
): Promise<void> {
  const { machines } = deployment.record
  const news = results.flatMap(({ machine, outcome, notBegun }) => {
    const known = Object.hasOwn(machines, machine) ? machines[machine] : undefined
    if (known === undefined || (outcome === 'skipped' && notBegun !== true)) return []
    // The previous result says nothing about the due work, so the machine counts as never completely deployed.
    const lastResult = outcome === 'skipped' ? undefined : outcome
    return known.lastResult === lastResult ? [] : [{ machine, lastResult }]
  })
  await settleAll(
    news.map(({ machine, lastResult }) =>
      deployment.updateMachine(machine, (draft) => Object.assign(draft, { lastResult })),
    ),
  )
}

/** Returns the results of machines that failed or are degraded. */
export function failuresIn(results: readonly MachineResult[]): MachineResult[] {
  return results.filter(({ outcome }) => outcome === 'failed' || outcome === 'degraded')
}

/** Returns the results for `--retry-failed`: failed, degraded, and due but not begun. */
export function unfinishedIn(results: readonly MachineResult[]): MachineResult[] {
  return [...failuresIn(results), ...results.filter(({ notBegun }) => notBegun === true)]
}

/** Announces the result of every machine; returns the results in natural order. */
export async function announceResults(
  ops: Ops,
  deployment: DeploymentSession,
  results: readonly MachineResult[],
): Promise<MachineResult[]> {
  for (const result of results) {
    await deployment.journal({
      event: 'machine.result',
      machine: result.machine,
      result: result.outcome,
      data: result.reason ?? null,
    })
    ops.events.emit({ kind: 'done', machine: result.machine, result })
  }
  return [...results].sort((a, b) => a.machine.localeCompare(b.machine, 'en', { numeric: true }))
}

/** Summarizes the results for the journal. */
export function verdict(results: readonly MachineResult[]): string {
  const bad = failuresIn(results)
  return bad.length === 0 ? 'done' : `failed on ${bad.map((result) => result.machine).join(', ')}`
}
