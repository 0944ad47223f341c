import type { DeploymentPaths, DeploymentRecord, JournalEntry } from './deployment.js'
import type { DeploymentUuid } from './names.js'
import type { Run } from './run.js'

/** The user's preferences (`hydra-ops config`). */
export interface Preferences {
  deployment?: string | undefined
  /** npm packages whose default export is a Provider. */
  plugins?: string[] | undefined
  maxConcurrent?: number | undefined
}

/** The deployment while this process holds its lock. */
export interface HeldDeployment {
  /** The record as last written. Treat as read-only; change it through `update`. */
  readonly record: DeploymentRecord
  readonly paths: DeploymentPaths
  /** Changes a copy of the record and writes it; on return it is on disk (fsync'd, `.bak` kept). */
  update(change: (draft: DeploymentRecord) => void): void
  /** Appends one line; on return it is on disk. */
  journal(entry: Pick<JournalEntry, 'event' | 'machine' | 'result' | 'data'>): void
  /** Removes the deployment and its folder. */
  remove(): void
}

/** The local state store. Reading neither locks nor writes. */
export interface DeploymentStore {
  /** Absolute path of the state folder. */
  readonly root: string
  /** Every deployment that can be read; those that cannot are reported by `problems`. */
  list(): DeploymentRecord[]
  /** Deployments whose state cannot be read, each with its reason as an error to show. */
  problems(): Error[]
  /**
   * By name, UUID or UUID prefix; without one: `$HYDRA_OPS_DEPLOYMENT`, the default preference, or the only one there is.
   * Throws a usage error with a suggestion.
   */
  resolve(reference: string | undefined): DeploymentRecord
  paths(uuid: DeploymentUuid): DeploymentPaths
  /** Makes a new deployment; refuses a name that is taken. */
  create(record: Pick<DeploymentRecord, 'name' | 'expressions' | 'searchPath' | 'args'>): DeploymentRecord
  /** Runs `action` as the one writer of this deployment; throws `locked` naming the holder. */
  lock<T>(uuid: DeploymentUuid, action: (held: HeldDeployment) => Promise<T>): Promise<T>
  /** Runs `action` under the short lock of the whole store, in which ports and names are handed out. */
  allocating<T>(run: Run, action: (all: readonly DeploymentRecord[]) => Promise<T>): Promise<T>
  /** Removes a lock whatever its holder; returns who held it. */
  unlock(uuid: DeploymentUuid): string | undefined
  history(uuid: DeploymentUuid): JournalEntry[]
  preferences(): Preferences
  setPreferences(preferences: Preferences): void
}
