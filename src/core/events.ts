import type { MachineName } from './names.js'

export const stages = [
  'evaluate',
  'inspect',
  'build',
  'create',
  'start',
  'reach',
  'bootstrap',
  'copy',
  'keys',
  'activate',
  'setup',
  'health',
  'record',
] as const
export type Stage = (typeof stages)[number]

/** What operations tell the user interface; operations themselves print nothing. */
export type OpsEvent =
  | { readonly kind: 'stage'; readonly machine: MachineName; readonly stage: Stage; readonly detail?: string }
  | { readonly kind: 'line'; readonly machine: MachineName | undefined; readonly line: string }
  | { readonly kind: 'done'; readonly machine: MachineName; readonly result: MachineResult }
  /** Something the user should know, once. */
  | { readonly kind: 'notice'; readonly text: string }

export type MachineOutcome = 'changed' | 'unchanged' | 'degraded' | 'failed' | 'skipped'

export interface MachineResult {
  readonly machine: MachineName
  readonly outcome: MachineOutcome
  /** Work on it was due, and an earlier failure kept it from being begun. */
  readonly notBegun?: true | undefined
  /** The stage it failed at. */
  readonly stage?: Stage | undefined
  readonly seconds: number
  readonly reason?: string | undefined
  readonly hint?: string | undefined
  /** Last lines of its log, or the journal of the unit that failed. */
  readonly evidence?: readonly string[] | undefined
}

export interface EventSink {
  emit(event: OpsEvent): void
}
