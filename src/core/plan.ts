import type { MachineName } from './names.js'

export type PlanAction =
  | 'create'
  | 'change'
  | 'recreate'
  | 'start'
  | 'copy'
  | 'fetch'
  | 'build'
  | 'add'
  | 'replace'
  | 'remove'
  | 'run'
  | 'activate'
  | 'reboot'
  | 'destroy'

/** One line of the plan. */
export interface PlanItem {
  /**
   * The part of the machine that changes: `libvirt`, `image`, `closure`, `keys`, `files`, `units`, `packages`,
   * `setup` …
   */
  readonly subject: string
  readonly action: PlanAction
  readonly detail: string
  /** The restart or permission that the change needs: `restart needed`, `needs --kill-obsolete`. */
  readonly note?: string | undefined
}

export interface MachinePlan {
  readonly machine: MachineName
  readonly items: readonly PlanItem[]
  /** The reason why the plan is incomplete (the machine does not answer …). */
  readonly unknown?: string | undefined
}

export interface Plan {
  readonly machines: readonly MachinePlan[]
  /** Whether the plan destroys, recreates, restarts or reboots anything. The user must confirm such a plan. */
  readonly disruptive: boolean
}

export function isEmpty(plan: Plan): boolean {
  return plan.machines.every((machine) => machine.items.length === 0)
}
