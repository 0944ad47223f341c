/** Reports about a Hydra, which the user interface shows. */

/** Cause that keeps steps from running, with its remedy. */
export interface Blockage {
  /** System and features of the steps, as the queue runner names them; absent if all steps wait. */
  readonly type?: string
  readonly steps: number
  readonly cause: string
  readonly remedy: string
}

/** State of the queue. `stuck`: some steps wait for something that no waiting brings. */
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
  /** Time of its end in seconds, if it ended. */
  readonly at: number | undefined
}

/** One evaluation in a report. */
export interface EvaluationRow {
  readonly id: number
  /** Time of the evaluation in seconds, if Hydra reports one. */
  readonly at: number | undefined
}

export interface JobsetStatus {
  readonly project: string
  readonly jobset: string
  /** Work of its evaluator: none, a wait for its turn, or an evaluation. */
  readonly evaluator: 'idle' | 'waiting' | 'evaluating'
  /** Time since when the evaluator waits or evaluates, in seconds. */
  readonly since: number | undefined
  readonly lastChecked: number | undefined
  /** Builds of the newest evaluation. */
  readonly succeeded: number
  readonly failed: number
  readonly unfinished: number
  /** First line of the last evaluation's error; empty if there is none. */
  readonly error: string
  /** Facts that only the question for one jobset brings. */
  readonly detail?: JobsetDetail
}

export interface JobsetDetail {
  readonly evaluation: EvaluationRow | undefined
  readonly inputs: Readonly<Record<string, string>>
  readonly gate: BuildRow | undefined
  /** Newest evaluation whose gate is green. */
  readonly lastGreen: EvaluationRow | undefined
  /** Builds of the newest evaluation that failed. */
  readonly failedBuilds: readonly BuildRow[]
  /** The whole error of the last evaluation. */
  readonly errors: string
}

export interface HydraStatus {
  readonly url: string
  readonly queue: QueueState
  /** Unfinished builds of the place in question. */
  readonly queued: readonly BuildRow[]
  readonly running: readonly BuildRow[]
  readonly jobsets: readonly JobsetStatus[]
  /** Newest finished builds, where the question is about one job. */
  readonly builds?: readonly BuildRow[]
}
