import type {
  DeploymentHead,
  DeploymentPaths,
  DeploymentRecord,
  JournalEntry,
  MachineRecord,
} from './deployment.js'
import type { MachineName } from './names.js'

export type JournalFacts = Pick<JournalEntry, 'event' | 'machine' | 'result' | 'data'>

/**
 * The way of a command to write to its deployment. The store gives the one that holds the lock; a dry run has one that
 * forgets, a deploy one that keeps its plan in memory until the work begins. Each promise is fulfilled when the change
 * is on the disk, as far as it may be written.
 */
export interface DeploymentSession {
  /** The record with what was decided in this run. Treat it as read-only. */
  readonly record: DeploymentRecord
  /** The record on the disk. */
  readonly written: DeploymentRecord
  readonly paths: DeploymentPaths
  /** False for a session that writes nothing anywhere. */
  readonly writable: boolean
  /** Changes what concerns the deployment alone. */
  updateDeployment(change: (draft: DeploymentHead) => void): Promise<void>
  /** Changes the record of a machine that is known. */
  updateMachine(machine: MachineName, change: (draft: MachineRecord) => void): Promise<void>
  /** Adds a machine, or replaces its whole record. */
  putMachine(machine: MachineName, record: MachineRecord): Promise<void>
  removeMachine(machine: MachineName): Promise<void>
  /** Appends one line. */
  journal(entry: JournalFacts): Promise<void>
  /** Removes the deployment and its folder. */
  remove(): Promise<void>
  /** True once the journal is written. */
  readonly begun: boolean
  /** Writes the entry and the journal from now on, and how it ends for the machines that are on the disk. */
  begin(entry: JournalFacts): Promise<void>
  /** Writes the description and which machines are obsolete; files are written from now on. */
  commitNetwork(): Promise<void>
  /** Writes what was decided about a machine, whose work begins now. */
  commit(machine: MachineName): Promise<void>
  /** Writes a file: now, or when files are written; never in a dry run. */
  whenWriting(action: () => void): Promise<void>
}
