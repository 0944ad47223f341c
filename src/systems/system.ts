import type { MachineDefinition } from '../core/definition.js'
import type { DeployedClosure, MachineFacts, MachineRecord } from '../core/deployment.js'
import type { StorePath } from '../core/names.js'
import type { PlanItem } from '../core/plan.js'
import type { Run } from '../core/run.js'
import type { WantedTask } from '../core/setup-task.js'
import type { Host } from '../core/ssh.js'
import type { MachineSession } from '../machine/machine.js'

/** What one command tells of a machine, whatever runs there. */
export interface Survey {
  readonly facts: MachineFacts
  readonly bootId: string
  /** ID of os-release and, after it, what it is like (os-release(5)): `raspbian`, `debian`. Empty = it says nothing. */
  readonly systems: readonly string[]
  /** The closure its profile points to. */
  readonly profile: string | undefined
  /** UUID of the deployment that was activated there last. */
  readonly owner: string | undefined
  readonly freeKiB: number
  readonly hasNix: boolean
  /** The machine itself says that a reboot is wanted. */
  readonly rebootWanted: boolean
}

/** What a system has of its own in a look, besides keys and set-up tasks: packages, for instance. */
export interface SystemLook {
  readonly survey: Survey
  /** Names of what `bootstrap` would install. */
  readonly missing: readonly string[]
  /** What `bootstrap` would do. */
  readonly items: readonly PlanItem[]
  /** What an activation of the wanted closure would take away, besides its files and units. */
  readonly dropped: readonly PlanItem[]
  /** Installs what the set-up tasks need before the first of them runs; returns whether something was installed. */
  bootstrap(session: MachineSession): Promise<boolean>
}

/** How an activation ended that is no failure. */
export type Activated = {
  /** Its lines that tell what was removed or put back; undefined = they are lost. */
  readonly undone: readonly string[] | undefined
} & (
  | { readonly kind: 'done' }
  /** Something waits for a set-up task, or failed, maybe for want of one: the activation after the tasks judges it. */
  | {
      readonly kind: 'unjudged'
      /** Says what waits and what failed, as the activation program does. */
      readonly left: readonly string[]
      /** The last journal lines of the units that failed. */
      readonly journal: readonly string[]
    }
)

export interface ActivationOptions {
  /** Also where the closure is active already. */
  readonly always: boolean
  /** Set-up tasks come after it: what waits for one of them is no failure. */
  readonly beforeTasks: boolean
  /** The second one of this run. */
  readonly again: boolean
}

/** What a deploy needs to know of a kind of operating system. The pipeline knows no other way to it. */
export interface System {
  /** The file on a machine that holds the UUID of the deployment it belongs to. */
  readonly ownerFile: string
  survey(host: Host, run: Run): Promise<Survey>
  /** Throws an error where another system runs; nothing was touched there yet. */
  refuseOther(session: MachineSession, survey: Survey): void
  /** Looks at what is the system's own; changes nothing. */
  look(host: Host, definition: MachineDefinition, tasks: readonly WantedTask[], run: Run): Promise<SystemLook>
  /** Plans what `bootstrap` would do on a machine that is not up, from what is recorded of it. */
  planUnseen(
    definition: MachineDefinition,
    deployed: MachineRecord['deployed'],
    wanted: StorePath | undefined,
  ): PlanItem[]
  /** Names what the closure of the definition holds, each with its hash. */
  contents(definition: MachineDefinition): Pick<DeployedClosure, 'files' | 'units'>
  activate(session: MachineSession, path: StorePath, options: ActivationOptions): Promise<Activated>
  /** Reads the result of an activation that an earlier process started and did not see end. False = there is none. */
  reattach(session: MachineSession): Promise<boolean>
  /** Says whether a line of an activation tells that something was undone which a task writes or needs. */
  undoes(line: string, task: WantedTask): boolean
}
