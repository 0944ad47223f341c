import pLimit from 'p-limit'
import { throwIfAborted } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import type { MachineName } from '../core/names.js'
import { settleAll } from '../core/settle.js'
import { failuresIn, notBegun } from '../machine/results.js'
import type { Job } from './job.js'

interface Ordering {
  /** Tags from `network.ordering.tags`. */
  readonly tags: readonly string[]
  /** Maximum number of machines at once. */
  readonly limit: number
  /** Machines that failed before their group's work began. */
  readonly broken: readonly Job[]
  /** Whether a group begins even if a machine of an earlier group failed. */
  readonly keepGoing: boolean
  /** Whether a failure also keeps machines of its own group from beginning. */
  readonly stop?: boolean
}

/**
 * Works on machines in parallel, group after group. Each tag has one group, in the given order; machines with none of
 * the tags come last (Morph's rule). A failure lets its own group finish, but no later group begins, because later
 * groups may need the failed machine.
 */
export async function inOrder<Item extends { readonly job: Job }>(
  items: readonly Item[],
  { tags, limit, broken, keepGoing, stop = false }: Ordering,
  action: (item: Item) => Promise<MachineResult>,
): Promise<MachineResult[]> {
  const rank = (job: Job) => rankOf(job.definition.options.tags, tags)
  const ranks = [...new Set([...items.map(({ job }) => job), ...broken].map(rank))].sort((a, b) => a - b)
  const results: MachineResult[] = []
  const slots = pLimit(limit)
  let why: string | undefined
  let stopped = stop ? broken[0]?.machine : undefined
  for (const each of ranks) {
    const group = items.filter(({ job }) => rank(job) === each)
    if (why !== undefined) {
      results.push(...group.map(({ job }) => notBegunAs(job, why)))
      continue
    }
    const ended = await settleAll(
      group.map((item) =>
        slots(async () => {
          throwIfAborted(item.job.ops.signal)
          if (stopped !== undefined) return notBegunAfter(item.job, stopped)
          const result = await action(item)
          if (stop && failuresIn([result]).length > 0) stopped ??= result.machine
          return result
        }),
      ),
    )
    results.push(...ended)
    const before = broken.filter((job) => rank(job) === each).map((job) => job.machine)
    const failed = [...before, ...failuresIn(ended).map((result) => result.machine)]
    if (failed.length > 0 && !keepGoing) why = `${failed.join(', ')} of group '${tags[each]}' failed`
  }
  return results
}

function notBegunAfter(job: Job, failed: MachineName): MachineResult {
  return notBegun(job, {
    reason: `not started, because ${failed} failed (--on-failure)`,
    hint: 'repair the failed machine, then deploy again',
  })
}

function notBegunAs(job: Job, why: string | undefined): MachineResult {
  return notBegun(job, {
    reason: `not started, because ${why}`,
    hint: 'repair the failed machines, then deploy again; deploy --keep-going-groups starts every group',
  })
}

function rankOf(tags: readonly string[], ordering: readonly string[]): number {
  const rank = ordering.findIndex((tag) => tags.includes(tag))
  return rank < 0 ? ordering.length : rank
}
