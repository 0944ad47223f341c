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

/** Messages from operations to the user interface. Operations themselves print nothing. */
export type OpsEvent =
  | { readonly kind: 'stage'; readonly machine: MachineName; readonly stage: Stage; readonly detail?: string }
  | { readonly kind: 'line'; readonly machine: MachineName | undefined; readonly line: string }
  | { readonly kind: 'done'; readonly machine: MachineName; readonly result: MachineResult }
  /** A message that the user should see once. */
  | { readonly kind: 'notice'; readonly text: string }

export type MachineOutcome = 'changed' | 'unchanged' | 'degraded' | 'failed' | 'skipped'

export interface MachineResult {
  readonly machine: MachineName
  readonly outcome: MachineOutcome
  /** Whether due work on the machine never began because of an earlier failure. */
  readonly notBegun?: true | undefined
  /** The stage in which the machine failed. */
  readonly stage?: Stage | undefined
  readonly seconds: number
  readonly reason?: string | undefined
  readonly hint?: string | undefined
  /** The last lines of the machine's log, or the journal of the failed unit. */
  readonly evidence?: readonly string[] | undefined
}

export interface EventSink {
  emit(event: OpsEvent): void
}
