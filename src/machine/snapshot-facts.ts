import { offerTask } from '../core/builder-offer.js'
import type { MachineRecord, SnapshotRecord } from '../core/deployment.js'
import type { Snapshot } from '../core/provider.js'

/** Creates the record of a snapshot that is about to be taken, from the known facts of the machine. */
export function beginSnapshotRecord(known: MachineRecord, since: string): SnapshotRecord {
  const { config, deployed, unfinishedCopy, activation, tasks, keys, facts } = known
  return structuredClone({ since, config, deployed, unfinishedCopy, activation, tasks, keys, facts })
}

/**
 * Returns the record of a snapshot, or undefined if hydra-ops did not take the snapshot. A foreign snapshot may have
 * the same name as a recorded snapshot. A record has no time if a crash interrupted the snapshot, before or after the
 * snapshot existed.
 */
export function recordOfSnapshot(known: MachineRecord, { name, at }: Snapshot): SnapshotRecord | undefined {
  const found = ownRecord(known, name)
  if (found === undefined) return undefined
  if (found.at !== undefined) return found.at === at ? found : undefined
  // Hypervisors report times in whole seconds.
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
 * Drops the facts that a restore may make untrue, before the restore begins. The outcome of the restore is unknown
 * after a crash. The keys of both times stay, because a key without a record would stay on the machine forever. The
 * offer of a builder stays, because other machines list the builder, and may still keep it drained.
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

/** Restores the facts that were known about the machine at the time of the snapshot. */
export function putBack(draft: MachineRecord, kept: SnapshotRecord | undefined): void {
  if (kept === undefined) return
  const { config, deployed, unfinishedCopy, activation, tasks, facts } = structuredClone(kept)
  Object.assign(draft, { config, deployed, unfinishedCopy, activation, tasks, facts })
}
