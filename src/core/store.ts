import type { DeploymentSession } from '../core/session.js'
import type { DeploymentRecord, JournalEntry } from './deployment.js'
import type { DeploymentUuid } from './names.js'
import type { Run } from './run.js'

/** The user's preferences (`hydra-ops config`). */
export interface Preferences {
  deployment?: string | undefined
  /** npm packages whose default export is a Provider. */
  plugins?: string[] | undefined
  maxConcurrent?: number | undefined
}

/** The store of what is known of the deployments. Reading neither locks nor writes. */
export interface DeploymentStore {
  /** Every deployment that can be read, but for one; those that cannot are reported by `problems`. */
  list(except?: DeploymentUuid): Promise<DeploymentRecord[]>
  /** Deployments whose state cannot be read, each with its reason as an error to show. */
  problems(): Promise<Error[]>
  /**
   * By name, UUID or UUID prefix; without one: `$HYDRA_OPS_DEPLOYMENT`, the default preference, or the only one there is.
   * Throws a usage error with a suggestion.
   */
  resolve(reference: string | undefined): Promise<DeploymentRecord>
  /** Makes a new deployment; refuses a name that is taken. */
  create(
    record: Pick<DeploymentRecord, 'name' | 'expressions' | 'searchPath' | 'args'>,
  ): Promise<DeploymentRecord>
  /** Runs `action` as the one writer of this deployment; throws `locked` naming the holder. */
  lock<T>(uuid: DeploymentUuid, action: (session: DeploymentSession) => Promise<T>): Promise<T>
  /**
   * Runs `action` under the short lock of the whole store, in which ports and names are handed out, with every other
   * deployment than `uuid`.
   */
  allocating<T>(
    uuid: DeploymentUuid,
    run: Run,
    action: (others: readonly DeploymentRecord[]) => Promise<T>,
  ): Promise<T>
  /** Removes a lock whatever its holder; returns who held it. */
  unlock(uuid: DeploymentUuid): Promise<string | undefined>
  history(uuid: DeploymentUuid): Promise<JournalEntry[]>
  preferences(): Promise<Preferences>
  setPreferences(preferences: Preferences): Promise<void>
}
