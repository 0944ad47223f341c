import type { MachineName } from './names.js'
import type { OrphanResource } from './provider.js'

/** What operations find out and the user interface shows. */

/** What is seen of a machine. */
export type SeenState = 'missing' | 'up' | 'stopped' | 'unreachable' | 'foreign' | 'unknown'

/** What runs on a machine against what the network expression wants. */
export type Currency = 'new' | 'up-to-date' | 'outdated' | 'obsolete' | 'revived'

export interface MachineInfo {
  readonly name: MachineName
  readonly state: SeenState
  /** Undefined without an evaluation. */
  readonly currency: Currency | undefined
  readonly type: string
  readonly resourceId: string
  readonly address: string | undefined
  readonly urls: readonly string[]
  /** Task → its outputs. */
  readonly outputs: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** `deployment.owners`; none without an evaluation. */
  readonly owners: readonly string[]
  /** Why the state is what it is, where that helps. */
  readonly detail: string | undefined
}

export interface DeploymentInfo {
  readonly uuid: string
  readonly name: string | undefined
  readonly description: string | undefined
  readonly expressions: readonly string[]
  readonly searchPath: readonly string[]
  readonly args: Readonly<Record<string, string>>
  readonly machines: readonly MachineInfo[]
  /** False = states are as recorded. */
  readonly probed: boolean
  /** Why the expression could not be evaluated, when it was to be. */
  readonly evaluationError: unknown
}

/** One machine as `check` sees it. Undefined = it could not be found out. */
export interface MachineCheck {
  readonly name: MachineName
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
  /** Resources with our mark that no deployment of this state knows. */
  readonly orphans: readonly OrphanResource[]
  /** What could not be looked at besides. */
  readonly problems: readonly string[]
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
  /** Providers of its machines. */
  readonly types: readonly string[]
}

export interface DeploymentList {
  readonly deployments: readonly DeploymentRow[]
  /** Deployments whose state cannot be read. */
  readonly problems: readonly { readonly message: string; readonly hint: string | undefined }[]
}

/** What was logged of a run. */
export interface RunLog {
  readonly run: string
  /** Without a machine: what belongs to the whole run. */
  readonly machines: readonly { readonly machine: string | undefined; readonly text: string }[]
}
