import type { BuilderOffer } from './builder-offer.js'
import type { MachineName } from './names.js'
import type { ShownOption } from './nix.js'
import type { OrphanResource, Snapshot } from './provider.js'
import type { UpdateResult } from './update-result.js'

/** Results of operations, which the user interface shows. */

/** The observed state of a machine. */
export type SeenState = 'missing' | 'up' | 'stopped' | 'unreachable' | 'foreign' | 'unknown'

/** The state of a machine whose closure is the whole system. */
export interface SystemStatus {
  /** The store path of the running system. */
  readonly running: string | undefined
  /** The store path of the system that the last boot started. */
  readonly booted: string | undefined
  /** The system that the next boot starts; undefined if the boot menu could not be read. */
  readonly bootDefault: string | undefined
  /** The system that a rollback would activate. */
  readonly previous: string | undefined
  readonly generations: readonly { readonly number: number; readonly path: string }[]
  readonly failedUnits: readonly string[]
  /** The services that still run code of an earlier system. */
  readonly restartsOwed: readonly string[]
  /** Remains of an interrupted switch, one sentence each. */
  readonly leftovers: readonly string[]
  /** Sentences about differences and remaining work. */
  readonly notes: readonly string[]
  /** The last automatic update, if the machine's system has the timer for automatic updates. */
  readonly autoUpdate?: UpdateResult | undefined
}

/** The relation of a machine's deployed closure to the network expression. */
export type Currency = 'new' | 'up-to-date' | 'outdated' | 'obsolete' | 'revived'

export interface MachineInfo {
  /** The state of a NixOS system; present only if the machine was queried. */
  readonly system?: SystemStatus | undefined
  /** The last automatic update; present only if the machine was queried. */
  readonly autoUpdate?: UpdateResult | undefined
  readonly name: MachineName
  readonly state: SeenState
  /** Whether the deployed closure is current; undefined without an evaluation. */
  readonly currency: Currency | undefined
  readonly type: string
  readonly resourceId: string
  readonly address: string | undefined
  readonly urls: readonly string[]
  /** The outputs of each task. */
  readonly outputs: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** The option `deployment.owners`; empty without an evaluation. */
  readonly owners: readonly string[]
  /** An explanation of the state, if the state needs one. */
  readonly detail: string | undefined
}

export interface DeploymentInfo {
  readonly uuid: string
  readonly name: string | undefined
  readonly description: string | undefined
  readonly expressions: readonly string[]
  readonly searchPath: readonly string[]
  readonly args: Readonly<Record<string, string>>
  /** Whether the expressions are evaluated from git. */
  readonly fromGit: boolean
  readonly machines: readonly MachineInfo[]
  /** Whether the states were probed, rather than read from the records. */
  readonly probed: boolean
  /** The error of a failed evaluation that was requested. */
  readonly evaluationError: unknown
}

/** One snapshot in the report of `snapshot list`. */
export interface SnapshotRow extends Snapshot {
  readonly machine: MachineName
  /** The closure that was deployed at the time of the snapshot, if known. */
  readonly closure: string | undefined
}

/** One machine in the report of `check`. A field is undefined if the check could not determine it. */
export interface MachineCheck {
  readonly name: MachineName
  /** The state of a NixOS system; present only if the machine was queried. */
  readonly system?: SystemStatus | undefined
  /** The last automatic update, if the machine ever had one. */
  readonly autoUpdate?: UpdateResult | undefined
  readonly exists: boolean | undefined
  readonly up: boolean | undefined
  readonly reachable: boolean | undefined
  readonly disksOk: boolean | undefined
  readonly load: string | undefined
  readonly failedUnits: readonly string[] | undefined
  readonly notes: readonly string[]
  readonly stoppedOnPurpose: boolean
}

export interface CheckReport {
  readonly machines: readonly MachineCheck[]
  /** Resources with hydra-ops's mark that belong to no deployment of this state. */
  readonly orphans: readonly OrphanResource[]
  /** Further problems that prevented a check. */
  readonly problems: readonly string[]
}

/** One builder, as seen by one machine that uses the builder. */
export interface BuilderRow extends BuilderOffer {
  readonly builder: MachineName
  /** The machine that sends builds to the builder. */
  readonly usedBy: MachineName
  /** Whether the builder gets no new builds. */
  readonly drained: boolean
  /** Builds of the machine on the builder; absent if the machine was not queried or could not answer. */
  readonly steps?: BuilderSteps | undefined
}

export interface BuilderSteps {
  readonly count: number
  /** Age of the oldest build in seconds; 0 if no build runs. */
  readonly oldest: number
  /** Whether the oldest build is so old that it may hang. */
  readonly frozen: boolean
}

/** The one cause that keeps a derivation from being built. */
export interface BuildWhy {
  /** The machine that wants the derivation built, in words: `machine 'ci'`, `this host`. */
  readonly where: string
  readonly derivation: string
  readonly system: string
  readonly features: readonly string[]
  readonly kind: string
  /** Whether something keeps the build from running. */
  readonly hindered: boolean
  readonly cause: string
  /** The builder's line in its list, after the file and the line number. */
  readonly line?: string | undefined
  /** Output of Nix and ssh from a real build that failed, as lines. */
  readonly detail?: string | undefined
  readonly remedy?: string | undefined
  /** Faults of the other builders. */
  readonly also: readonly string[]
}

/** One set-up task on one machine. */
export interface SetupRow {
  readonly machine: MachineName
  readonly task: string
  readonly state: 'done' | 'needed' | 'drifted' | 'unknown'
  readonly detail?: string | undefined
  readonly outputs: Readonly<Record<string, string>>
}

export interface DeploymentRow {
  readonly uuid: string
  readonly name: string | undefined
  readonly description: string | undefined
  readonly machines: number
  /** The providers of the deployment's machines. */
  readonly types: readonly string[]
}

export interface DeploymentList {
  readonly deployments: readonly DeploymentRow[]
  /** Deployments whose state cannot be read. */
  readonly problems: readonly { readonly message: string; readonly hint: string | undefined }[]
}

/** The log of a run. */
export interface RunLog {
  readonly run: string
  /** The logs by machine; undefined stands for the whole run. */
  readonly machines: readonly { readonly machine: string | undefined; readonly text: string }[]
}

/** One machine's answer about an option, or about the facts of its provider. */
export type MachineOption = { readonly machine: string } & Exclude<
  ShownOption,
  { readonly kind: 'absent' | 'other' }
>
