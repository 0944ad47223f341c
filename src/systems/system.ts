import type { MachineDefinition } from '../core/definition.js'
import type { DeployedClosure, MachineFacts, MachineRecord } from '../core/deployment.js'
import type { OpsError } from '../core/errors.js'
import type { StorePath } from '../core/names.js'
import type { PlanItem } from '../core/plan.js'
import type { SystemStatus } from '../core/reports.js'
import type { Run } from '../core/run.js'
import type { WantedTask } from '../core/setup-task.js'
import type { Host } from '../core/ssh.js'
import type { MachineSession } from '../machine/machine.js'

/** Facts that one command reads from a machine with any system. */
export interface Survey {
  readonly facts: MachineFacts
  readonly bootId: string
  /** ID of os-release, then its ID_LIKE (os-release(5)): `raspbian`, `debian`. Empty if os-release has neither. */
  readonly systems: readonly string[]
  /** Closure that the profile points to. */
  readonly profile: string | undefined
  /** System that runs; only where the closure is the whole system. */
  readonly running?: StorePath | undefined
  /** System that a rollback leads to; only where the closure is the whole system. */
  readonly previous?: StorePath | undefined
  /** UUID of the deployment that last activated a closure on the machine. */
  readonly owner: string | undefined
  readonly freeKiB: number
  readonly hasNix: boolean
  /** Reason why the machine needs a reboot, for the plan; `undefined` if the machine needs none. */
  readonly rebootReason: string | undefined
}

/** Differences between a wanted closure and a machine, known before the activation. */
export interface Comparison {
  readonly items: readonly PlanItem[]
  /** Reason why the machine needs a reboot once it has the closure. */
  readonly rebootReason: string | undefined
}

/** The system's own part of a look, besides keys and set-up tasks: packages, for instance. */
export interface SystemLook {
  readonly survey: Survey
  /** Names of packages that `bootstrap` would install. */
  readonly missing: readonly string[]
  /** Plan items of `bootstrap`. */
  readonly items: readonly PlanItem[]
  /** Things that an activation of the wanted closure would remove, besides its files and units. */
  readonly dropped: readonly PlanItem[]
  /** Installs packages before the first set-up task runs; returns whether it installed any. */
  bootstrap(session: MachineSession): Promise<boolean>
  /** Compares the wanted closure with the machine; returns `undefined` if the operator host cannot tell. */
  compare?(session: MachineSession, wanted: StorePath): Promise<Comparison | undefined>
}

/** End of an activation that did not fail. */
export type Activated = {
  /** Lines about things that were removed or put back; `undefined` if the lines are lost. */
  readonly undone: readonly string[] | undefined
  /** Reason why the machine needs a reboot after this activation, if the activation knows. */
  readonly rebootReason?: string | undefined
  /** Fault of the running system, if the deploy continues in spite of the fault and reports it at the end. */
  readonly degraded?: OpsError | undefined
  /** Whether the machine was booted into the closure, so that earlier looks are outdated. */
  readonly restarted?: boolean | undefined
  /** System on trial; absent where the activation is complete, as on Debian. */
  readonly trial?: Trial | undefined
} & (
  | { readonly kind: 'done' }
  /**
   * Some part waits or has failed, perhaps because a set-up task has not run yet. The activation after the tasks
   * decides.
   */
  | {
      readonly kind: 'unjudged'
      /** Lines in which the activation program names the waiting and the failed parts. */
      readonly left: readonly string[]
      /** Last journal lines of the failed units. */
      readonly journal: readonly string[]
    }
)

/**
 * A system that runs and was confirmed, while the next boot still starts the previous system. Exactly one of the three
 * methods is called after the set-up tasks and the health checks. If hydra-ops is killed before, the trial ends with
 * the next boot or the next deploy.
 */
export interface Trial {
  /** Makes the system the boot default. */
  keep(): Promise<{ readonly rebootReason: string | undefined }>
  /** Lets the system run until the next boot. */
  leave(): Promise<void>
  /** Goes back to the system before the deploy, and throws an error that reports the return. */
  goBack(why: string): Promise<never>
}

export interface ActivationOptions {
  /** Whether to activate even if the closure is active already. */
  readonly always: boolean
  /** Whether set-up tasks follow, so that waiting for a task is not a failure. */
  readonly beforeTasks: boolean
  /** Whether this run has already activated a closure on the machine. */
  readonly again: boolean
  /** Trial of the run's first activation, whose way back the second activation takes over. */
  readonly first?: Trial | undefined
  /** Suffix for the name of the run, if the run activates a machine once more at its end. */
  readonly suffix?: string | undefined
  /** Extent of the activation; `switch` by default. Only NixOS supports other modes. */
  readonly mode?: ActivationMode | undefined
  /** Treatment of a new system that runs with a fault; `fail` by default. Only NixOS can go back. */
  readonly onDegraded?: OnDegraded | undefined
  /** Whether a system that needs a boot is booted once before it becomes the boot default. Only NixOS can do that. */
  readonly bootOnce?: boolean | undefined
  /** Seconds for the new login that confirms a new system. */
  readonly confirmSeconds?: number | undefined
  /** Prepares the machine for a reboot within the activation; an error prevents the reboot. */
  beforeReboot?(): Promise<void>
}

/**
 * `switch`: the system runs now and after each boot; `boot`: from the next boot on; `test`: until the next boot;
 * `dry-activate`: not at all, the machine only shows what a switch would do.
 */
export type ActivationMode = 'switch' | 'boot' | 'test' | 'dry-activate'

/**
 * `fail`: the system runs, and the old system stays the boot default; `keep`: the system becomes the boot default too;
 * `rollback`: the old system runs again, and the machine's result is `failed` instead of `degraded`.
 */
export type OnDegraded = 'fail' | 'keep' | 'rollback'

/**
 * A kind of operating system, with all operations that a deploy needs. The pipeline uses the system only through this
 * interface.
 */
export interface System {
  /** File on a machine with the UUID of its deployment. */
  readonly ownerFile: string
  survey(host: Host, run: Run): Promise<Survey>
  /** Reads the facts that `info` and `check` show, as the login user; absent for a system without further facts. */
  status?(host: Host, run: Run): Promise<SystemStatus>
  /** Throws an error if another system runs on the machine, before anything is touched. */
  refuseOther(session: MachineSession, survey: Survey): void
  /** Looks at the system's own part; changes nothing. */
  look(host: Host, definition: MachineDefinition, tasks: readonly WantedTask[], run: Run): Promise<SystemLook>
  /** Plans `bootstrap` from the record of a machine that is down. */
  planUnseen(
    definition: MachineDefinition,
    deployed: MachineRecord['deployed'],
    wanted: StorePath | undefined,
  ): PlanItem[]
  /** Lists the contents of the definition's closure, each with its hash. */
  contents(definition: MachineDefinition): Pick<DeployedClosure, 'files' | 'units'>
  /** Whether a deploy can go back to the previous system. */
  readonly goesBack: boolean
  /** Activates the closure. If the system can go back, the closure is then on trial. */
  activate(session: MachineSession, path: StorePath, options: ActivationOptions): Promise<Activated>
  /**
   * Reads the result of an activation whose end an earlier process missed; returns false if no such activation exists.
   */
  reattach(session: MachineSession): Promise<boolean>
  /** Says whether a line of an activation reports the removal of something that a task writes or needs. */
  undoes(line: string, task: WantedTask): boolean
}
