import * as z from 'zod'

/**
 * Answers of Hydra's API. The order of keys is random, and the fields differ between versions; unknown fields are
 * ignored.
 */

const seconds = z.number().nullish()

export const Build = z.looseObject({
  id: z.number(),
  project: z.string().nullish(),
  jobset: z.string().nullish(),
  job: z.string().nullish(),
  nixname: z.string().nullish(),
  system: z.string().nullish(),
  /** 0 while the build waits or runs. A restarted build keeps its old `buildstatus` meanwhile (measured). */
  finished: z.number(),
  buildstatus: z.number().nullish(),
  timestamp: seconds,
  starttime: seconds,
  stoptime: seconds,
  /** Path of the derivation; null in the lists of the queue. */
  drvpath: z.string().nullish(),
  buildoutputs: z.record(z.string(), z.looseObject({ path: z.string().nullish() })).default({}),
  /** Evaluations that the build belongs to. */
  jobsetevals: z.array(z.number()).default([]),
})
export type Build = z.infer<typeof Build>

export const Builds = z.array(Build)

const EvaluationInput = z.looseObject({
  type: z.string().nullish(),
  uri: z.string().nullish(),
  value: z.string().nullish(),
  revision: z.string().nullish(),
})

export const Evaluation = z.looseObject({
  id: z.number(),
  /** Time of the evaluation; absent in old versions. */
  timestamp: seconds,
  flake: z.string().nullish(),
  jobsetevalinputs: z.record(z.string(), EvaluationInput).default({}),
  builds: z.array(z.number()).default([]),
})
export type Evaluation = z.infer<typeof Evaluation>

export const EvaluationPage = z.looseObject({
  evals: z.array(Evaluation).default([]),
  /** Query of the next page; absent on the last page. */
  next: z.string().nullish(),
})

export const Jobset = z.looseObject({
  name: z.string().nullish(),
  errormsg: z.string().nullish(),
  fetcherrormsg: z.string().nullish(),
  errortime: seconds,
  /** Set while an evaluation is requested. */
  triggertime: seconds,
  /** Set while an evaluation runs. */
  starttime: seconds,
  lastcheckedtime: seconds,
  /** 0 off, 1 on, 2 one-shot, 3 one-at-a-time. */
  enabled: z.number().nullish(),
})
export type Jobset = z.infer<typeof Jobset>

/** Row of `/api/jobsets`. Its `haserrormsg` is always false (measured). */
export const JobsetRow = z.looseObject({
  name: z.string(),
  project: z.string(),
  nrscheduled: z.number().nullish(),
  nrsucceeded: z.number().nullish(),
  nrfailed: z.number().nullish(),
  nrtotal: z.number().nullish(),
  errortime: seconds,
  fetcherrormsg: z.string().nullish(),
  triggertime: seconds,
  starttime: seconds,
  lastcheckedtime: seconds,
  checkinterval: seconds,
})
export type JobsetRow = z.infer<typeof JobsetRow>

export const Project = z.looseObject({
  name: z.string(),
  jobsets: z.array(z.string()).default([]),
  enabled: z.union([z.boolean(), z.number()]).nullish(),
})
export type Project = z.infer<typeof Project>

const Builder = z.looseObject({
  enabled: z.boolean().nullish(),
  systemTypes: z.array(z.string()).default([]),
  supportedFeatures: z.array(z.string()).default([]),
  mandatoryFeatures: z.array(z.string()).default([]),
  currentJobs: z.number().nullish(),
  /** Time until which the queue runner does not use a failing builder. */
  disabledUntil: seconds,
  consecutiveFailures: z.number().nullish(),
})
export type Builder = z.infer<typeof Builder>

/**
 * State of the queue runner. `status` is `unknown` for a runner that never started, and `down` after the runner ended.
 */
export const RunnerStatus = z.looseObject({
  status: z.string(),
  nrRunnableSteps: z.number().nullish(),
  nrActiveSteps: z.number().nullish(),
  nrUnsupportedSteps: z.number().nullish(),
  /** Waiting and running steps by `SYSTEM[:FEATURE,FEATURE]`. */
  machineTypes: z
    .record(z.string(), z.looseObject({ runnable: z.number().nullish(), running: z.number().nullish() }))
    .default({}),
  machines: z.record(z.string(), Builder).default({}),
})
export type RunnerStatus = z.infer<typeof RunnerStatus>

export type BuildState = 'waiting' | 'succeeded' | 'failed'

/** Returns the state of a build. `finished` decides first, because a restarted build keeps its old status. */
export function buildState({ finished, buildstatus }: Pick<Build, 'finished' | 'buildstatus'>): BuildState {
  if (finished === 0) return 'waiting'
  return buildstatus === 0 ? 'succeeded' : 'failed'
}

const statusWords: Readonly<Record<number, string>> = {
  0: 'succeeded',
  1: 'failed',
  2: 'a dependency failed',
  3: 'aborted',
  4: 'cancelled',
  6: 'failed with output',
  7: 'timed out',
  9: 'no builder for its system or features',
  10: 'log too long',
  11: 'output too large',
  12: 'not deterministic',
}

/** Describes the state of a build, as the end of a sentence. */
export function describeBuild(build: Pick<Build, 'finished' | 'buildstatus'>): string {
  if (build.finished === 0) return 'not finished'
  const status = build.buildstatus ?? -1
  return statusWords[status] ?? `status ${status}`
}
