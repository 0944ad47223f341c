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

/** The store of deployment records. Reading neither locks nor writes. */
export interface DeploymentStore {
  /** Returns every readable deployment other than `except`; `problems` reports the unreadable deployments. */
  list(except?: DeploymentUuid): Promise<DeploymentRecord[]>
  /** Returns the reason, as an error, for each deployment whose state cannot be read. */
  problems(): Promise<Error[]>
  /**
   * Resolves a name, UUID or UUID prefix. The default is `$HYDRA_OPS_DEPLOYMENT`, the default preference, or the only
   * deployment. An unknown reference throws a usage error with a suggestion.
   */
  resolve(reference: string | undefined): Promise<DeploymentRecord>
  /** Creates a deployment; refuses a name that is already in use. */
  create(
    record: Pick<DeploymentRecord, 'name' | 'expressions' | 'searchPath' | 'args' | 'fromGit'>,
  ): Promise<DeploymentRecord>
  /** Runs `action` as the only writer of this deployment; throws `LOCKED` with the holder's name. */
  lock<T>(uuid: DeploymentUuid, action: (session: DeploymentSession) => Promise<T>): Promise<T>
  /**
   * Runs `action` under the short-lived lock of the whole store, which guards ports and names. The action gets every
   * deployment other than `uuid`.
   */
  allocating<T>(
    uuid: DeploymentUuid,
    run: Run,
    action: (others: readonly DeploymentRecord[]) => Promise<T>,
  ): Promise<T>
  /** Removes the lock, even if another process holds it, and returns the holder. */
  unlock(uuid: DeploymentUuid): Promise<string | undefined>
  history(uuid: DeploymentUuid): Promise<JournalEntry[]>
  preferences(): Promise<Preferences>
  setPreferences(preferences: Preferences): Promise<void>
}
