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
 * The interface through which a command writes to its deployment. The store's session holds the lock; a dry run's
 * session discards every change. A deploy's session keeps its plan in memory until the work begins. Each promise is
 * fulfilled once the permitted change is on the disk.
 */
export interface DeploymentSession {
  /** The record with the decisions of this run; treat the record as read-only. */
  readonly record: DeploymentRecord
  /** The record on the disk. */
  readonly written: DeploymentRecord
  readonly paths: DeploymentPaths
  /** Whether the session ever writes to the disk. */
  readonly writable: boolean
  /** Changes facts of the deployment itself. */
  updateDeployment(change: (draft: DeploymentHead) => void): Promise<void>
  /** Changes the record of a known machine. */
  updateMachine(machine: MachineName, change: (draft: MachineRecord) => void): Promise<void>
  /** Adds a machine, or replaces its whole record. */
  putMachine(machine: MachineName, record: MachineRecord): Promise<void>
  removeMachine(machine: MachineName): Promise<void>
  /** Appends one line to the journal. */
  journal(entry: JournalFacts): Promise<void>
  /** Removes the deployment and its folder. */
  remove(): Promise<void>
  /** Whether journal entries go to the disk. */
  readonly begun: boolean
  /**
   * Writes the entry, and the entries that waited for `begin`; later entries are written at once. The results of the
   * machines are then on the disk too.
   */
  begin(entry: JournalFacts): Promise<void>
  /** Writes the description and the marks of obsolete machines; files are written from now on. */
  commitNetwork(): Promise<void>
  /** Writes the decisions about a machine whose work begins now. */
  commit(machine: MachineName): Promise<void>
  /** Runs an action that writes files: now, or once the session writes files. A dry run never runs the action. */
  whenWriting(action: () => Promise<void>): Promise<void>
}
