/**
 * Comparison of an action of hydra-ops with its least possible cost (the floor), both measured in the same run.
 */
export interface Comparison {
  readonly what: string
  readonly ms: number
  readonly floor: string
  readonly floorMs: number
  /** Limit that the design sets; `kept` says whether the action stayed within the limit. */
  readonly budget: string
  readonly kept: boolean
}

/** Median times of hydra-ops's action and its floor, in milliseconds. */
interface Medians {
  readonly ms: number
  readonly floorMs: number
}

/**
 * Measures the median times of two actions. The actions alternate, so that other load on the host affects both
 * alike. The first turn warms caches and is not counted. `spent` reads a counter in milliseconds, whose growth is
 * measured too.
 */
export async function inTurns(
  turns: number,
  ours: () => Promise<unknown>,
  floor: () => Promise<unknown>,
  spent: () => number = () => 0,
): Promise<Medians & { readonly spent: Medians }> {
  const measured = async (action: () => Promise<unknown>) => {
    const before = spent()
    const ms = await timed(action)
    return { ms, spent: spent() - before }
  }
  const seen: { ours: { ms: number; spent: number }[]; floor: { ms: number; spent: number }[] } = {
    ours: [],
    floor: [],
  }
  for (let turn = 0; turn <= turns; turn++) {
    const ofFloor = await measured(floor)
    const ofOurs = await measured(ours)
    if (turn === 0) continue
    seen.floor.push(ofFloor)
    seen.ours.push(ofOurs)
  }
  const medians = (of: (each: { ms: number; spent: number }) => number) => ({
    ms: median(seen.ours.map(of)),
    floorMs: median(seen.floor.map(of)),
  })
  return { ...medians(({ ms }) => ms), spent: medians(({ spent: each }) => each) }
}

export async function timed(action: () => Promise<unknown>): Promise<number> {
  const begin = performance.now()
  await action()
  return performance.now() - begin
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

export function table(rows: readonly Comparison[]): string {
  const cells = rows.map((row) => [
    row.what,
    milliseconds(row.ms),
    row.floor,
    milliseconds(row.floorMs),
    (row.ms / row.floorMs).toFixed(2),
    `${row.kept ? 'kept' : 'MISSED'}: ${row.budget}`,
  ])
  const head = ['what', 'ms', 'floor', 'ms', 'ratio', 'budget']
  return [head, head.map(() => '---'), ...cells].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

function milliseconds(ms: number): string {
  return ms < 100 ? ms.toFixed(1) : ms.toFixed(0)
}
