import { posix } from 'node:path'
import { hostOf } from '../machine/connect.js'
import { journal, type MachineSession, recordOf, updateJob } from '../machine/machine.js'
import { deliverKeys, removeKeys } from './deliver.js'
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

/**
 * Delivers the keys of one phase; contacts no machine if all keys are as they should be. Returns the keys that were
 * left out, because the machine lacks their user or group.
 */
export async function placeKeys(
  session: MachineSession,
  phase: ResolvedKey['uploadAt'],
  seen: readonly SeenKey[],
): Promise<readonly SeenKey[]> {
  if (seen.every(isFine)) return []
  const keys = seen.map((each) => each.key)
  const recorded = recordWhileDelivering(recordOf(session).keys, keys)
  await writeKeys(session, recorded)
  const { changed, unowned } = await deliverKeys(hostOf(session), keys, phase, session.run)
  if (changed.length > 0) {
    session.changed = true
    await journal(session, 'keys.delivered', { data: [...changed] })
  }
  return unowned
}

/**
 * Delivers every key and removes dropped keys, after this run has created all its users. Refuses keys without an owner
 * last, so that such a key does not hold up other deliveries and removals.
 */
export async function finishKeys(session: MachineSession, seen: readonly SeenKey[]): Promise<void> {
  const unowned = await placeKeys(session, 'post-activation', seen)
  await dropKeys(session, seen)
  refuseMissingOwners(session.machine, unowned)
}

/** Removes keys that the expression no longer has, then records exactly the keys of the expression. */
async function dropKeys(session: MachineSession, seen: readonly SeenKey[]): Promise<void> {
  const keys = seen.map((each) => each.key)
  const dropped = droppedKeys(recordOf(session).keys, keys)
  if (dropped.paths.length > 0 || dropped.names.length > 0) {
    await removeKeys(hostOf(session), dropped, session.run)
    const emptied = dropped.paths.map((path) => posix.dirname(path))
    await openFolders(hostOf(session), keys, session.run, { emptied })
    session.changed = true
    await journal(session, 'keys.removed', { data: [...dropped.names] })
  }
  await writeKeys(session, recordOfKeys(keys))
}

async function writeKeys(session: MachineSession, keys: Record<string, string>): Promise<void> {
  if (JSON.stringify(recordOf(session).keys) === JSON.stringify(keys)) return
  await updateJob(session, (draft) => {
    draft.keys = keys
  })
}
