import type { PasswordSource } from './hydra-users.js'
import type { Run } from './run.js'
import type { Host } from './ssh.js'

/** A user in Hydra's database. */
export interface HydraUserSeen {
  readonly name: string
  readonly fullName: string
  readonly emailAddress: string
  readonly roles: readonly string[]
  /** Whether the user can log in; false if a password was never set. */
  readonly canLogin: boolean
}

/** A change to a user, or a new user; absent fields remain unchanged. */
export interface HydraUserChange {
  readonly name: string
  readonly fullName?: string | undefined
  readonly emailAddress?: string | undefined
  /** The complete set of roles after the change. */
  readonly roles?: readonly string[] | undefined
  readonly password?: string | undefined
}

/** Administration of the users of one machine's Hydra. */
export interface HydraUserAdmin {
  /** The users in the network expression, with the sources of their passwords. */
  readonly named: ReadonlyMap<string, PasswordSource>
  list(host: Host, run: Run): Promise<readonly HydraUserSeen[]>
  /** Changes a user, or creates the user if the name is new. The password reaches the machine on standard input. */
  change(host: Host, change: HydraUserChange, run: Run): Promise<void>
}
