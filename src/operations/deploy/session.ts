import type { DeploymentPaths, DeploymentRecord, JournalEntry, MachineRecord } from '../../core/deployment.js'
import { failure } from '../../core/errors.js'
import type { DeploymentUuid, MachineName } from '../../core/names.js'
import type { DeploymentStore, HeldDeployment } from '../../core/store.js'

/** What a deploy writes to. A dry run gets one that forgets, so that both go through the same code. */
export interface Session {
  readonly record: DeploymentRecord
  readonly paths: DeploymentPaths
  /** False = nothing may be written anywhere. */
  readonly writable: boolean
  update(change: (draft: DeploymentRecord) => void): void
  journal(entry: Pick<JournalEntry, 'event' | 'machine' | 'result' | 'data'>): void
}

export function writingSession(held: HeldDeployment): Session {
  return {
    writable: true,
    paths: held.paths,
    get record() {
      return held.record
    },
    update: (change) => held.update(change),
    journal: (entry) => held.journal(entry),
  }
}

/** Changes are kept in memory and dropped. */
export function dryingSession(store: DeploymentStore, uuid: DeploymentUuid): Session {
  let record = structuredClone(store.resolve(uuid))
  return {
    writable: false,
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
  session: Session,
  machine: MachineName,
  change: (draft: MachineRecord) => void,
): void {
  session.update((draft) => change(machineRecord(draft, machine)))
}
