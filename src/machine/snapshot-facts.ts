import { offerTask } from '../core/builder-offer.js'
import type { MachineRecord, SnapshotRecord } from '../core/deployment.js'
import type { Snapshot } from '../core/provider.js'

/** Begins the record of a snapshot that is about to be made, from the known facts of the machine. */
export function beginSnapshotRecord(known: MachineRecord, since: string): SnapshotRecord {
  const { config, deployed, unfinishedCopy, activation, tasks, keys, facts } = known
  return structuredClone({ since, config, deployed, unfinishedCopy, activation, tasks, keys, facts })
}

/**
 * Returns the record of a snapshot; undefined for a snapshot that somebody made by other means. Such a snapshot may
 * have the name of one of ours. A record without a time is of a snapshot whose creation a crash ended, before or after
 * the snapshot existed.
 */
export function recordOfSnapshot(known: MachineRecord, { name, at }: Snapshot): SnapshotRecord | undefined {
  const found = ownRecord(known, name)
  if (found === undefined) return undefined
  if (found.at !== undefined) return found.at === at ? found : undefined
  // Hypervisors count in whole seconds.
  return Date.parse(at) >= Math.floor(Date.parse(found.since) / 1000) * 1000 ? found : undefined
}

export function ownRecord({ snapshots = {} }: MachineRecord, name: string): SnapshotRecord | undefined {
  return Object.hasOwn(snapshots, name) ? snapshots[name] : undefined
}

export function dropRecord(draft: MachineRecord, name: string): void {
  const rest = Object.entries(draft.snapshots ?? {}).filter(([each]) => each !== name)
  draft.snapshots = rest.length === 0 ? undefined : Object.fromEntries(rest)
}

/**
 * Drops the facts that a restore may make untrue, before the restore begins. Nobody knows after a crash whether the
 * restore happened. The keys of both times stay, because a key without a record stays on the machine forever. The
 * offer of a builder stays, because other machines have its name in their lists, and may keep jobs from it.
 */
export function dropClaims(draft: MachineRecord, kept: SnapshotRecord | undefined): void {
  draft.deployed = undefined
  draft.unfinishedCopy = undefined
  draft.activation = undefined
  const offer = draft.tasks[offerTask]
  draft.tasks = offer === undefined ? {} : { [offerTask]: { ...offer, inputs: '' } }
  draft.facts = {}
  draft.keys = { ...draft.keys, ...kept?.keys }
}

/** Restores the facts that were known about the machine at the snapshot, which are true again. */
export function putBack(draft: MachineRecord, kept: SnapshotRecord | undefined): void {
  if (kept === undefined) return
  const { config, deployed, unfinishedCopy, activation, tasks, facts } = structuredClone(kept)
  Object.assign(draft, { config, deployed, unfinishedCopy, activation, tasks, facts })
}
