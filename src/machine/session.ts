import type { DeploymentPaths, DeploymentRecord, JournalEntry, MachineRecord } from '../core/deployment.js'
import { failure } from '../core/errors.js'
import type { DeploymentUuid, MachineName } from '../core/names.js'
import type { DeploymentStore, HeldDeployment } from '../core/store.js'

export type JournalFacts = Pick<JournalEntry, 'event' | 'machine' | 'result' | 'data'>

/**
 * What a verb writes to. A dry run has one that forgets, a deploy one that keeps its plan in memory until the work
 * begins: all three go through the same code.
 */
export interface DeploymentSession {
  /** What is known, with what was decided in this run. */
  readonly record: DeploymentRecord
  /** What is on disk. */
  readonly written: DeploymentRecord
  readonly paths: DeploymentPaths
  /** False = nothing may be written anywhere. */
  readonly writable: boolean
  update(change: (draft: DeploymentRecord) => void): void
  journal(entry: JournalFacts): void
  /** True once the journal is written. */
  readonly begun: boolean
  /** Writes the entry and the journal from now on, and how it ends for the machines that are on disk. */
  begin(entry: JournalFacts): void
  /** Writes the description and which machines are obsolete; files are written from now on. */
  commitNetwork(): void
  /** Writes what was decided about a machine, whose work begins now. */
  commit(machine: MachineName): void
  /** Writes a file: now, or when files are written; never in a dry run. */
  whenWriting(action: () => void): void
}

/** A session in which every change is written at once. */
export function writingSession(held: HeldDeployment): DeploymentSession {
  return {
    writable: true,
    paths: held.paths,
    get record() {
      return held.record
    },
    get written() {
      return held.record
    },
    update: (change) => held.update(change),
    journal: (entry) => held.journal(entry),
    begun: true,
    begin: (entry) => held.journal(entry),
    commitNetwork: () => {},
    commit: () => {},
    whenWriting: (action) => action(),
  }
}

/** Changes are kept in memory and dropped. */
export function dryingSession(store: DeploymentStore, uuid: DeploymentUuid): DeploymentSession {
  const written = store.resolve(uuid)
  let record = structuredClone(written)
  return {
    writable: false,
    written,
    paths: store.paths(uuid),
    get record() {
      return record
    },
    update: (change) => {
      const draft = structuredClone(record)
      change(draft)
      record = draft
    },
    journal: () => {},
    begun: false,
    begin: () => {},
    commitNetwork: () => {},
    commit: () => {},
    whenWriting: () => {},
  }
}

export function machineRecord(record: DeploymentRecord, machine: MachineName): MachineRecord {
  const found = record.machines[machine]
  if (found === undefined)
    throw failure('NO_MACHINE', `machine '${machine}' is not in the state`, { machine })
  return found
}

/** Changes one machine's record and writes it. */
export function updateMachine(
  deployment: DeploymentSession,
  machine: MachineName,
  change: (draft: MachineRecord) => void,
): void {
  deployment.update((draft) => change(machineRecord(draft, machine)))
}
