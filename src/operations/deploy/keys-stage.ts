import { posix } from 'node:path'
import { deliverKeys, removeKeys } from './deliver-keys.js'
import { journal, type Link, recordOf, updateJob } from './job.js'
import { openFolders } from './key-folders.js'
import { refuseMissingOwners } from './key-owners.js'
import {
  droppedKeys,
  isFine,
  type ResolvedKey,
  recordOfKeys,
  recordWhileDelivering,
  type SeenKey,
} from './keys.js'
import { hostOf } from './reach.js'

/**
 * Brings the keys of one phase into place; costs nothing when all were seen to be as they should be. Answers the keys
 * that were left out, as the machine has no such user or group.
 */
export async function placeKeys(
  link: Link,
  phase: ResolvedKey['uploadAt'],
  seen: readonly SeenKey[],
): Promise<readonly SeenKey[]> {
  if (seen.every(isFine)) return []
  const keys = seen.map((each) => each.key)
  const recorded = recordWhileDelivering(recordOf(link).keys, keys)
  writeKeys(link, recorded)
  const { changed, unowned } = await deliverKeys(hostOf(link), keys, phase, link.run)
  if (changed.length > 0) {
    link.changed = true
    journal(link, 'keys.delivered', { data: [...changed] })
  }
  return unowned
}

/**
 * Brings every key into place and removes the dropped ones, where all users exist that this run makes. Refuses the keys
 * without an owner last: one withholds no other key, and keeps none on the machine.
 */
export async function finishKeys(link: Link, seen: readonly SeenKey[]): Promise<void> {
  const unowned = await placeKeys(link, 'post-activation', seen)
  await dropKeys(link, seen)
  refuseMissingOwners(link.machine, unowned)
}

/** Removes keys that the expression has no more, then records exactly those that it has. */
async function dropKeys(link: Link, seen: readonly SeenKey[]): Promise<void> {
  const keys = seen.map((each) => each.key)
  const dropped = droppedKeys(recordOf(link).keys, keys)
  if (dropped.paths.length > 0 || dropped.names.length > 0) {
    await removeKeys(hostOf(link), dropped, link.run)
    await openFolders(
      hostOf(link),
      keys,
      link.run,
      dropped.paths.map((path) => posix.dirname(path)),
    )
    link.changed = true
    journal(link, 'keys.removed', { data: [...dropped.names] })
  }
  writeKeys(link, recordOfKeys(keys))
}

function writeKeys(link: Link, keys: Record<string, string>): void {
  if (JSON.stringify(recordOf(link).keys) === JSON.stringify(keys)) return
  updateJob(link, (draft) => {
    draft.keys = keys
  })
}
