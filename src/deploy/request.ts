import type { DeploymentRecord } from '../core/deployment.js'
import type { MachineResult } from '../core/events.js'
import type { MachineName, StorePath } from '../core/names.js'
import type { NixFlags } from '../core/nix.js'
import type { Plan } from '../core/plan.js'
import type { Selection } from '../network/selection.js'

/** What `deploy` and `plan` were asked for. */
export interface DeployRequest {
  readonly deployment: string | undefined
  readonly selection: Selection
  /** Stop after the plan; write nothing anywhere. */
  readonly dryRun: boolean
  /** Stop after the named stage. */
  readonly until: 'build' | 'create' | 'copy' | undefined
  /** Verify the closure on the machine, path by path, also where it is said to be there. */
  readonly check: boolean
  readonly killObsolete: boolean
  readonly allowRecreate: boolean
  readonly alwaysActivate: boolean
  readonly allowReboot: boolean
  readonly forceReboot: boolean
  readonly skipOffline: boolean
  readonly keepGoing: boolean
  /** Begin a group of `network.ordering` also when a machine of an earlier one failed. */
  readonly keepGoingGroups: boolean
  readonly maxConcurrent: number
  /** Machine → store path to deploy instead of the evaluated one. */
  readonly closures: ReadonlyMap<MachineName, StorePath>
  readonly retryFailed: boolean
  /** Do not ask. */
  readonly yes: boolean
  readonly acceptHostKey: boolean
  /** For this run only, on top of the remembered ones. */
  readonly args: Readonly<Record<string, string>>
  readonly searchPath: readonly string[]
  readonly nix: NixFlags
  /** Called once with the plan before anything is touched. */
  onPlan(plan: Plan, deployment: DeploymentRecord): void
}

/** A deploy without a flag. */
export const plainDeploy: DeployRequest = {
  deployment: undefined,
  selection: {},
  dryRun: false,
  until: undefined,
  check: false,
  killObsolete: false,
  allowRecreate: false,
  alwaysActivate: false,
  allowReboot: false,
  forceReboot: false,
  skipOffline: false,
  keepGoing: false,
  keepGoingGroups: false,
  maxConcurrent: 10,
  closures: new Map(),
  retryFailed: false,
  yes: false,
  acceptHostKey: false,
  args: {},
  searchPath: [],
  nix: { showTrace: false, options: [] },
  onPlan: () => {},
}

export interface DeployReport {
  readonly deployment: DeploymentRecord
  readonly plan: Plan
  /** After a dry run: of the machines that could not be planned. */
  readonly results: readonly MachineResult[]
}
