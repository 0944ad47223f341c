import type { MachineName } from './names.js'
import type { Host } from './ssh.js'

/** Nix that decides where a build runs: a queue runner, the daemon, or the Nix of a user without a daemon. */
export type Decider = 'queue runner' | 'daemon' | 'user'

/** Report of a queue runner about a builder. */
export interface ReportedBuilder {
  readonly currentJobs: number
  /** Seconds for which the queue runner leaves the builder alone; 0 if it does not. */
  readonly disabledFor: number
  readonly failures: number
}

/** Login to a builder that hydra-ops set up. */
export interface OwnBuilder {
  readonly machine: MachineName
  readonly user: string
  readonly host: string
  readonly port: number
}

/** The machine for which a derivation should be built. */
export interface WhyPlace {
  readonly shell: Pick<Host, 'machine' | 'script'>
  /** Words for the machine: `machine 'ci'`, `this host`. */
  readonly where: string
  readonly decider: Decider
  /** User of the shell, by name. */
  readonly user: string
  /** Whether the shell is root's, and can run programs as other users. */
  readonly root: boolean
  /** File of this machine that holds the derivation. */
  readonly file: string
  /** Value of NIX_REMOTE. */
  readonly store: string
  readonly ours: readonly OwnBuilder[]
  /** Reports about the builders, by name. */
  readonly reported: ReadonlyMap<string, ReportedBuilder>
}
