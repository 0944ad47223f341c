import type { MachineName } from './names.js'
import type { Host } from './ssh.js'

/** The part of Nix that decides where a build runs: a queue runner, the daemon, or a user's daemonless Nix. */
export type Decider = 'queue runner' | 'daemon' | 'user'

/** A queue runner's report about a builder. */
export interface ReportedBuilder {
  readonly currentJobs: number
  /** Seconds for which the queue runner avoids the builder; 0 if it does not. */
  readonly disabledFor: number
  readonly failures: number
}

/** A login to a builder that hydra-ops set up. */
export interface OwnBuilder {
  readonly machine: MachineName
  readonly user: string
  readonly host: string
  readonly port: number
}

/** The machine for which a derivation should be built. */
export interface WhyPlace {
  readonly shell: Pick<Host, 'machine' | 'script'>
  /** Name of the machine in messages: `machine 'ci'`, `this host`. */
  readonly where: string
  readonly decider: Decider
  /** Name of the user who runs the shell. */
  readonly user: string
  /** Whether the shell runs as root, and can run programs as other users. */
  readonly root: boolean
  /** Path of the derivation's file on the machine. */
  readonly file: string
  /** Value of NIX_REMOTE. */
  readonly store: string
  readonly ours: readonly OwnBuilder[]
  /** Reports about the builders, by name. */
  readonly reported: ReadonlyMap<string, ReportedBuilder>
}
