import type { Ops } from '../core/context.js'
import { failure } from '../core/errors.js'
import type { BuildRow, HydraStatus, JobsetDetail, JobsetStatus } from '../core/hydra-reports.js'
import type { HydraApi } from '../hydra/api.js'
import { scrapeConfig } from '../hydra/metrics.js'
import { readPlace } from '../hydra/names.js'
import { judgeQueue } from '../hydra/queue-state.js'
import * as read from '../hydra/read.js'
import { type Build, buildState, describeBuild, type Evaluation, type JobsetRow } from '../hydra/replies.js'
import { type HydraChoice, openHydraApi } from './hydra-at.js'

/** Query about a Hydra, or about a part of a Hydra. */
export interface StatusRequest extends HydraChoice {
  /** `PROJECT`, `PROJECT:JOBSET` or `PROJECT:JOBSET:JOB`; undefined means everything. */
  readonly place: string | undefined
  readonly gate: string
}

/** Maximum number of evaluations in the search for the last green gate. */
const mostEvaluations = 60

/** Reads the queue, the running builds and the jobsets of a Hydra. */
export async function hydraStatus(ops: Ops, request: StatusRequest): Promise<HydraStatus> {
  const place = request.place === undefined ? undefined : readPlace(request.place)
  const api = await openHydraApi(ops, request)
  const mine = ({ project, jobset, job }: Build) =>
    (place === undefined || project === place.project) &&
    (place?.jobset === undefined || jobset === place.jobset) &&
    (place?.job === undefined || job === place.job)
  const [status, queue, running] = await Promise.all([
    read.runnerStatus(api),
    read.queue(api),
    read.running(api),
  ])
  const jobsets = await jobsetsOf(api, place, request.gate)
  const { project, jobset, job } = place ?? {}
  return {
    url: api.url,
    queue: judgeQueue(status, queue.length, ops.now()),
    queued: queue.filter(mine).map(rowOf),
    running: running.filter(mine).map(rowOf),
    jobsets,
    ...(project === undefined || jobset === undefined || job === undefined
      ? {}
      : { builds: (await read.latestBuilds(api, { project, jobset, job }, 10)).map(rowOf) }),
  }
}

async function jobsetsOf(
  api: HydraApi,
  place: ReturnType<typeof readPlace> | undefined,
  gate: string,
): Promise<JobsetStatus[]> {
  const projects = place === undefined ? (await read.projects(api)).map(({ name }) => name) : [place.project]
  const rows: JobsetRow[] = []
  for (const project of projects) rows.push(...(await read.jobsets(api, project)))
  const found: JobsetStatus[] = []
  for (const row of rows) {
    if (place?.jobset === undefined) found.push(await overview(api, row))
    else if (row.name === place.jobset)
      found.push({ ...(await overview(api, row)), detail: await detailOf(api, row, gate) })
  }
  if (place?.jobset !== undefined && found.length === 0)
    throw await read.noSuchJobset(api, { project: place.project, jobset: place.jobset })
  return found
}

const oldError = ' (later checks found no error; Hydra keeps the old one)'

async function overview(api: HydraApi, row: JobsetRow): Promise<JobsetStatus> {
  const { project, name: jobset, starttime, triggertime } = row
  // Hydra's list of jobsets never contains the error text of an evaluation (measured).
  const error = row.errortime == null ? '' : await read.evaluationErrors(api, { project, jobset })
  return {
    project,
    jobset,
    evaluator: starttime != null ? 'evaluating' : triggertime != null ? 'waiting' : 'idle',
    since: starttime ?? triggertime ?? undefined,
    lastChecked: row.lastcheckedtime ?? undefined,
    succeeded: row.nrsucceeded ?? 0,
    failed: row.nrfailed ?? 0,
    unfinished: row.nrscheduled ?? 0,
    error: `${(row.fetcherrormsg || error).split('\n', 1)[0] ?? ''}${read.keepsOldError(row) ? oldError : ''}`,
  }
}

async function detailOf(
  api: HydraApi,
  { project, name: jobset }: JobsetRow,
  gate: string,
): Promise<JobsetDetail> {
  let newest: Evaluation | undefined
  let newestGate: Build | undefined
  let lastGreen: Evaluation | undefined
  let looked = 0
  for await (const evaluation of read.evaluationsOf(api, { project, jobset })) {
    const build = await read.buildIn(api, evaluation.id, gate)
    if (newest === undefined) [newest, newestGate] = [evaluation, build]
    looked += 1
    if (build !== undefined && buildState(build) === 'succeeded') lastGreen = evaluation
    // A jobset without the gate has none in earlier evaluations either.
    if (lastGreen !== undefined || newestGate === undefined || looked >= mostEvaluations) break
  }
  const builds = newest === undefined ? [] : await read.buildsOf(api, newest.id)
  return {
    evaluation: newest === undefined ? undefined : pointOf(newest),
    inputs: inputsOf(newest),
    gate: newestGate === undefined ? undefined : rowOf(newestGate),
    lastGreen: lastGreen === undefined ? undefined : pointOf(lastGreen),
    failedBuilds: builds.filter((build) => buildState(build) === 'failed').map(rowOf),
    errors: await read.evaluationErrors(api, { project, jobset }),
  }
}

function pointOf({ id, timestamp }: Evaluation) {
  return { id, at: timestamp ?? undefined }
}

function inputsOf(evaluation: Evaluation | undefined): Record<string, string> {
  const inputs = Object.entries(evaluation?.jobsetevalinputs ?? {})
  return Object.fromEntries(
    inputs.flatMap(([name, { revision }]) => (revision == null ? [] : [[name, revision]])),
  )
}

function rowOf(build: Build): BuildRow {
  const { id, project, jobset, job, stoptime } = build
  return {
    id,
    job: [project, jobset, job].map((part) => part ?? '?').join(':'),
    state: describeBuild(build),
    at: build.finished === 0 ? undefined : (stoptime ?? undefined),
  }
}

/** Returns the log of a build; fails if the build has no log. */
export async function hydraLog(ops: Ops, choice: HydraChoice, build: number): Promise<string> {
  const api = await openHydraApi(ops, choice)
  const log = await read.logOf(api, build)
  if (log !== undefined) return log
  const found = await read.build(api, build)
  throw failure('HYDRA_ABSENT', `build ${build} at ${api.url} has no log (${describeBuild(found)})`, {
    hint: 'a build that was fetched from a cache has no log; any other build has a log once it runs',
  })
}

/** Returns a Prometheus scrape configuration for all jobs of the chosen jobsets. */
export async function hydraScrapes(
  ops: Ops,
  choice: HydraChoice,
  place: string | undefined,
): Promise<string> {
  const api = await openHydraApi(ops, choice)
  const { project, jobset, job } = place === undefined ? {} : readPlace(place)
  const projects = project === undefined ? (await read.projects(api)).map(({ name }) => name) : [project]
  const jobs = new Map<string, { project: string; jobset: string; job: string }>()
  for (const each of projects) {
    for (const row of await read.jobsets(api, each)) {
      if (jobset !== undefined && row.name !== jobset) continue
      for (const name of await newestJobs(api, row)) {
        if (job === undefined || job === name)
          jobs.set(`${each}:${row.name}:${name}`, { project: each, jobset: row.name, job: name })
      }
    }
  }
  return scrapeConfig(api.url, [...jobs.values()])
}

/** Returns the names of the jobs in the newest evaluation. */
export async function newestJobs(api: HydraApi, { project, name: jobset }: JobsetRow): Promise<string[]> {
  for await (const { id } of read.evaluationsOf(api, { project, jobset })) {
    const builds = await read.buildsOf(api, id)
    return builds.flatMap(({ job }) => job ?? []).sort()
  }
  return []
}
