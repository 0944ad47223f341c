/** Reports about a Hydra, which the user interface shows. */

/** A cause that keeps steps from running, with its remedy. */
export interface Blockage {
  /** System and features of the blocked steps, as the queue runner names them; absent if all steps are blocked. */
  readonly type?: string
  readonly steps: number
  readonly cause: string
  readonly remedy: string
}

/** State of the queue. `stuck` means that some steps will never run without intervention. */
export interface QueueState {
  readonly kind: 'idle' | 'busy' | 'stuck' | 'down'
  readonly runnable: number
  readonly active: number
  readonly blocked: readonly Blockage[]
}

/** One build in a report. */
export interface BuildRow {
  readonly id: number
  readonly job: string
  readonly state: string
  /** Unix time at which the build ended, in seconds; undefined for a build that has not ended. */
  readonly at: number | undefined
}

/** One evaluation in a report. */
export interface EvaluationRow {
  readonly id: number
  /** Unix time of the evaluation in seconds, if Hydra reports it. */
  readonly at: number | undefined
}

export interface JobsetStatus {
  readonly project: string
  readonly jobset: string
  /** Current work of the jobset's evaluator: none, waiting for its turn, or evaluating. */
  readonly evaluator: 'idle' | 'waiting' | 'evaluating'
  /** Unix time in seconds since which the evaluator has been waiting or evaluating. */
  readonly since: number | undefined
  readonly lastChecked: number | undefined
  /** Number of successful builds in the newest evaluation. */
  readonly succeeded: number
  readonly failed: number
  readonly unfinished: number
  /** First line of the last evaluation's error; empty if the evaluation had no error. */
  readonly error: string
  /** Details that only a report about a single jobset contains. */
  readonly detail?: JobsetDetail
}

export interface JobsetDetail {
  readonly evaluation: EvaluationRow | undefined
  readonly inputs: Readonly<Record<string, string>>
  readonly gate: BuildRow | undefined
  /** Newest evaluation whose gate is green. */
  readonly lastGreen: EvaluationRow | undefined
  /** Failed builds of the newest evaluation. */
  readonly failedBuilds: readonly BuildRow[]
  /** Full error text of the last failed evaluation; empty without a failure. */
  readonly errors: string
}

export interface HydraStatus {
  readonly url: string
  readonly queue: QueueState
  /** Unfinished builds of the requested project, jobset or job. */
  readonly queued: readonly BuildRow[]
  readonly running: readonly BuildRow[]
  readonly jobsets: readonly JobsetStatus[]
  /** Newest finished builds, if the report is about a single job. */
  readonly builds?: readonly BuildRow[]
}
