import type { DeploymentRecord } from '../core/deployment.js'
import type { MachineResult } from '../core/events.js'
import type { MachineName, StorePath } from '../core/names.js'
import type { NixFlags } from '../core/nix.js'
import type { Plan } from '../core/plan.js'
import type { Selection } from '../network/selection.js'
import type { ActivationMode, OnDegraded } from '../systems/system.js'
import { type DrainChoice, usualDrain } from './drain.js'
import type { HydraBuild, HydraWish } from './from-hydra.js'

/** Request to `deploy` or `plan`. */
export interface DeployRequest {
  readonly deployment: string | undefined
  readonly selection: Selection
  /** Whether to stop after the plan and write nothing anywhere. */
  readonly dryRun: boolean
  /** Last stage to run. */
  readonly until: 'build' | 'create' | 'copy' | undefined
  /** Whether to verify the closure on the machine path by path, even if Nix there lists it as valid. */
  readonly check: boolean
  readonly killObsolete: boolean
  readonly allowRecreate: boolean
  /** Whether set-up tasks remove their results that the expression no longer names. */
  readonly prune: boolean
  readonly alwaysActivate: boolean
  readonly allowReboot: boolean
  readonly forceReboot: boolean
  /** Settings for the drain of a builder before its reboot; `undefined` for `--no-drain`. */
  readonly drain: DrainChoice | undefined
  /** Mode of the activation; only NixOS supports modes other than `switch`. */
  readonly mode: ActivationMode
  /** Treatment of a new system that runs with a fault; `fail` by default. Only NixOS machines can roll back. */
  readonly onDegraded: OnDegraded | undefined
  /** Seconds within which a new login must confirm a new NixOS system. */
  readonly confirmSeconds: number
  /** Whether a NixOS system that needs a reboot is first booted once. The old system then stays the boot default. */
  readonly bootOnce: boolean
  /** Whether a deploy may replace a NixOS system that neither the record nor the store of this host contains. */
  readonly replaceUnknown: boolean
  /** Treatment of the other machines when a machine fails. */
  readonly onFailure: 'continue' | 'stop' | 'rollback-all'
  readonly skipOffline: boolean
  readonly keepGoing: boolean
  /** Whether a group of `network.ordering` begins even if a machine of an earlier group failed. */
  readonly keepGoingGroups: boolean
  readonly maxConcurrent: number
  /** Store paths to deploy instead of the evaluated paths, by machine. */
  readonly closures: ReadonlyMap<MachineName, StorePath>
  /** Wish for a Hydra's results, instead of evaluated closures. */
  readonly fromHydra: HydraWish | undefined
  /** Hydra's builds behind `closures`, by machine; empty until the wish is resolved. */
  readonly builds: ReadonlyMap<MachineName, HydraBuild>
  readonly retryFailed: boolean
  /** Whether to skip the confirmation. */
  readonly yes: boolean
  readonly acceptHostKey: boolean
  /** Arguments for this run only, in addition to the stored arguments. */
  readonly args: Readonly<Record<string, string>>
  readonly searchPath: readonly string[]
  readonly nix: NixFlags
  /** Receives the plan once, before anything is touched. */
  onPlan(plan: Plan, deployment: DeploymentRecord): void
}

/** A deploy without flags. */
export const plainDeploy: DeployRequest = {
  deployment: undefined,
  selection: {},
  dryRun: false,
  until: undefined,
  check: false,
  killObsolete: false,
  allowRecreate: false,
  prune: false,
  alwaysActivate: false,
  allowReboot: false,
  forceReboot: false,
  drain: usualDrain,
  mode: 'switch',
  onDegraded: undefined,
  confirmSeconds: 30,
  bootOnce: true,
  replaceUnknown: false,
  onFailure: 'continue',
  skipOffline: false,
  keepGoing: false,
  keepGoingGroups: false,
  maxConcurrent: 10,
  closures: new Map(),
  fromHydra: undefined,
  builds: new Map(),
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
  /** Results; a dry run lists only machines that could not be planned. */
  readonly results: readonly MachineResult[]
}
