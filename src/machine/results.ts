import type { Ops } from '../core/context.js'
import type { MachineResult } from '../core/events.js'
import type { DeploymentSession } from '../core/session.js'
import { settleAll } from '../core/settle.js'

/** Makes the result of a machine whose turn never came, though something was due there. */
export function notBegun(
  { machine }: Pick<MachineResult, 'machine'>,
  facts: Pick<MachineResult, 'reason' | 'hint'> = {},
): MachineResult {
  return { machine, outcome: 'skipped', notBegun: true, seconds: 0, ...facts }
}

/** Remembers how it ended for each machine: what `--retry-failed` goes by. */
export async function recordResults(
  deployment: DeploymentSession,
  results: readonly MachineResult[],
): Promise<void> {
  const { machines } = deployment.record
  const news = results.flatMap(({ machine, outcome, notBegun }) => {
    const known = Object.hasOwn(machines, machine) ? machines[machine] : undefined
    if (known === undefined || (outcome === 'skipped' && notBegun !== true)) return []
    // The result before says nothing of what is due now: the machine counts as one that no deploy has ended on.
    const lastResult = outcome === 'skipped' ? undefined : outcome
    return known.lastResult === lastResult ? [] : [{ machine, lastResult }]
  })
  await settleAll(
    news.map(({ machine, lastResult }) =>
      deployment.updateMachine(machine, (draft) => Object.assign(draft, { lastResult })),
    ),
  )
}

/** Picks the results of machines that failed or are degraded. */
export function failuresIn(results: readonly MachineResult[]): MachineResult[] {
  return results.filter(({ outcome }) => outcome === 'failed' || outcome === 'degraded')
}

/** Picks the results that `--retry-failed` is about: failed, degraded, and due but not begun. */
export function unfinishedIn(results: readonly MachineResult[]): MachineResult[] {
  return [...failuresIn(results), ...results.filter(({ notBegun }) => notBegun === true)]
}

/** Tells of every machine how it ended, in the order in which people read them. */
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

/** For the journal. */
export function verdict(results: readonly MachineResult[]): string {
  const bad = failuresIn(results)
  return bad.length === 0 ? 'done' : `failed on ${bad.map((result) => result.machine).join(', ')}`
}
