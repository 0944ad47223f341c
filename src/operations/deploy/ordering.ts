import pLimit from 'p-limit'
import { throwIfInterrupted } from '../../core/errors.js'
import { settleAll } from '../../core/settle.js'
import type { Job } from './job.js'

/**
 * Works on machines in parallel, at most `limit` at once, group after group: first those with the first
 * tag of `network.ordering.tags`, …, last those with none of them (Morph's rule).
 */
export async function inOrder<Item extends { readonly job: Job }, Result>(
  items: readonly Item[],
  ordering: readonly string[],
  limit: number,
  action: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const groups = new Map<number, Item[]>()
  for (const item of items) {
    const rank = rankOf(item.job.definition.options.tags, ordering)
    groups.set(rank, [...(groups.get(rank) ?? []), item])
  }
  const results: Result[] = []
  const slots = pLimit(limit)
  for (const rank of [...groups.keys()].sort((a, b) => a - b)) {
    const group = groups.get(rank) ?? []
    const ended = await settleAll(
      group.map((item) =>
        slots(() => {
          throwIfInterrupted(item.job.ops.signal)
          return action(item)
        }),
      ),
    )
    results.push(...ended)
  }
  return results
}

function rankOf(tags: readonly string[], ordering: readonly string[]): number {
  const rank = ordering.findIndex((tag) => tags.includes(tag))
  return rank < 0 ? ordering.length : rank
}
