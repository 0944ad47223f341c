import type { MachineDefinition } from '../core/definition.js'
import type { DeployedClosure, MachineFacts, MachineRecord } from '../core/deployment.js'
import type { OpsError } from '../core/errors.js'
import type { MachineName, StorePath } from '../core/names.js'
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
  /** UUID of the deployment that last activated a closure there. */
  readonly owner: string | undefined
  readonly freeKiB: number
  readonly hasNix: boolean
  /** Reason why the machine needs a reboot, for the plan; `undefined` if the machine needs none. */
  readonly rebootReason: string | undefined
}

/** Machine of the LAN that others find by name. */
export interface LanHost {
  readonly address: string
  readonly name: MachineName
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
  /** Plan of `bootstrap`. */
  readonly items: readonly PlanItem[]
  /** Things that an activation of the wanted closure would remove, besides its files and units. */
  readonly dropped: readonly PlanItem[]
  /** Installs what the set-up tasks need before the first of them runs; returns whether something was installed. */
  bootstrap(session: MachineSession): Promise<boolean>
  /** Compares the wanted closure with the machine; `undefined` if this host cannot know. */
  compare?(session: MachineSession, wanted: StorePath): Promise<Comparison | undefined>
}

/** End of an activation that did not fail. */
export type Activated = {
  /** Lines about things that were removed or put back; `undefined` if the lines are lost. */
  readonly undone: readonly string[] | undefined
  /** Reason why the machine needs a reboot after this activation, if the activation knows. */
  readonly rebootReason?: string | undefined
  /** Fault of the system that runs, where the deploy continues in spite of it and reports it at the end. */
  readonly degraded?: OpsError | undefined
  /** Whether the machine was booted into the closure, so that earlier looks are outdated. */
  readonly restarted?: boolean | undefined
  /** System on trial; absent where the activation is complete, as on Debian. */
  readonly trial?: Trial | undefined
} & (
  | { readonly kind: 'done' }
  /** A part that waits or failed, maybe for want of a set-up task; the activation after the tasks judges the part. */
  | {
      readonly kind: 'unjudged'
      /** Lines of the activation program that name what waits and what failed. */
      readonly left: readonly string[]
      /** Last journal lines of the failed units. */
      readonly journal: readonly string[]
    }
)

/**
 * A system that runs and was confirmed, while the next boot still starts the system before it. Exactly one of the
 * three ends comes after the set-up tasks and the health checks. A trial that nothing ends, because hydra-ops was
 * killed, ends with the next boot or the next deploy.
 */
export interface Trial {
  /** Makes the system the one that each boot starts. */
  keep(): Promise<{ readonly rebootReason: string | undefined }>
  /** Lets the system run until the next boot. */
  leave(): Promise<void>
  /** Goes back to the system before the deploy, and throws the error that says so. */
  goBack(why: string): Promise<never>
}

export interface ActivationOptions {
  /** Whether to activate even if the closure is active already. */
  readonly always: boolean
  /** Whether set-up tasks follow, so that waiting for one of them is not a failure. */
  readonly beforeTasks: boolean
  /** Whether this run has activated once already. */
  readonly again: boolean
  /** Trial of that first activation, whose way back is also the way back of this one. */
  readonly first?: Trial | undefined
  /** Addition to the name of the run, where a run activates a machine once more at its end. */
  readonly suffix?: string | undefined
  /** Part of an activation that is wanted; all by default. Only NixOS knows parts. */
  readonly mode?: ActivationMode | undefined
  /** Treatment of a new system that runs with a fault; `fail` by default. Only NixOS can go back. */
  readonly onDegraded?: OnDegraded | undefined
  /** Whether a system that needs a boot is booted once before it becomes the boot default. Only NixOS can do that. */
  readonly bootOnce?: boolean | undefined
  /** Seconds for the new login that confirms a new system. */
  readonly confirmSeconds?: number | undefined
  /** Prepares the machine for a reboot within the activation; an error keeps the machine up. */
  beforeReboot?(): Promise<void>
}

/**
 * `switch`: the system runs now and after each boot; `boot`: from the next boot on; `test`: until the next boot;
 * `dry-activate`: not at all, the machine only shows what a switch would do.
 */
export type ActivationMode = 'switch' | 'boot' | 'test' | 'dry-activate'

/**
 * `fail`: the system runs, and the boot default stays the old one; `keep`: the system becomes the boot default too;
 * `rollback`: the old system runs again, and the machine's result is `failed` instead of `degraded`.
 */
export type OnDegraded = 'fail' | 'keep' | 'rollback'

/** A kind of operating system, as a deploy needs to know it. The pipeline knows no other way to the system. */
export interface System {
  /** File on a machine with the UUID of its deployment. */
  readonly ownerFile: string
  survey(host: Host, run: Run): Promise<Survey>
  /** Reads what `info` and `check` show, as the user who logs in; absent for a system without more to tell. */
  status?(host: Host, run: Run): Promise<SystemStatus>
  /** Throws an error if another system runs on the machine, before anything is touched. */
  refuseOther(session: MachineSession, survey: Survey): void
  /** Looks at the system's own part; changes nothing. */
  look(host: Host, definition: MachineDefinition, tasks: readonly WantedTask[], run: Run): Promise<SystemLook>
  /** Plans `bootstrap` for a machine that is down from its record. */
  planUnseen(
    definition: MachineDefinition,
    deployed: MachineRecord['deployed'],
    wanted: StorePath | undefined,
  ): PlanItem[]
  /** Lists the contents of the definition's closure, each with its hash. */
  contents(definition: MachineDefinition): Pick<DeployedClosure, 'files' | 'units'>
  /** Lets a machine without a closure find the others by name; absent where only a closure can do that. */
  nameMachines?(host: Host, hosts: readonly LanHost[], run: Run): Promise<void>
  /** Whether a deploy can go back to the system before it. */
  readonly goesBack: boolean
  /** Makes the closure run. Where the system can go back, the closure is then on trial. */
  activate(session: MachineSession, path: StorePath, options: ActivationOptions): Promise<Activated>
  /** Reads the result of an activation whose end an earlier process did not see; returns false if there is none. */
  reattach(session: MachineSession): Promise<boolean>
  /** Says whether a line of an activation reports the removal of something that a task writes or needs. */
  undoes(line: string, task: WantedTask): boolean
}
