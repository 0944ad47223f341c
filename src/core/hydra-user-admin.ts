import type { PasswordSource } from './hydra-users.js'
import type { Run } from './run.js'
import type { Host } from './ssh.js'

/** A user as Hydra's database has it. */
export interface HydraUserSeen {
  readonly name: string
  readonly fullName: string
  readonly emailAddress: string
  readonly roles: readonly string[]
  /** False = no password was ever set. */
  readonly canLogin: boolean
}

/** What of a user is to be made or changed; what is left out stays as it is. */
export interface HydraUserChange {
  readonly name: string
  readonly fullName?: string | undefined
  readonly emailAddress?: string | undefined
  /** Exactly these, from then on. */
  readonly roles?: readonly string[] | undefined
  readonly password?: string | undefined
}

/** The users of the Hydra on one machine. */
export interface HydraUserAdmin {
  /** Those whom the network expression names, and where their passwords come from. */
  readonly named: ReadonlyMap<string, PasswordSource>
  list(host: Host, run: Run): Promise<HydraUserSeen[]>
  /** Makes the user where there is none of that name. The password goes to the machine on standard input. */
  change(host: Host, change: HydraUserChange, run: Run): Promise<void>
}
