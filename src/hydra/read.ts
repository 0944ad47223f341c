import * as z from 'zod'
import { failure, type OpsError } from '../core/errors.js'
import { suggest } from '../core/suggest.js'
import type { HydraApi } from './api.js'
import { type JobName, type JobsetName, jobPath, jobsetPath } from './names.js'
import {
  Build,
  Builds,
  Evaluation,
  EvaluationPage,
  Jobset,
  JobsetRow,
  Project,
  RunnerStatus,
} from './replies.js'

/** Yields the evaluations of a jobset that brought new builds, newest first, page by page. */
export async function* evaluationsOf(api: HydraApi, jobset: JobsetName): AsyncGenerator<Evaluation> {
  const path = `${jobsetPath(jobset)}/evals`
  let last = Number.POSITIVE_INFINITY
  for (let page = 1; ; page += 1) {
    const found = await api.find(page === 1 ? path : `${path}?page=${page}`, EvaluationPage)
    if (found === undefined) throw await noSuchJobset(api, jobset)
    for (const evaluation of found.evals) {
      // A new evaluation shifts all others to later places, so a page may repeat some of them.
      if (evaluation.id >= last) continue
      last = evaluation.id
      yield evaluation
    }
    if (found.next == null || found.evals.length === 0) return
  }
}

export async function evaluation(api: HydraApi, id: number): Promise<Evaluation> {
  const found = await api.find(`/eval/${id}`, Evaluation)
  if (found !== undefined) return found
  throw failure('HYDRA_ABSENT', `Hydra at ${api.url} has no evaluation ${id}`, {
    hint: 'hydra-ops hydra status PROJECT:JOBSET shows the newest evaluation; Hydra forgets evaluations beyond keepEvaluations',
  })
}

export async function build(api: HydraApi, id: number): Promise<Build> {
  const found = await api.find(`/build/${id}`, Build)
  if (found !== undefined) return found
  throw failure('HYDRA_ABSENT', `Hydra at ${api.url} has no build ${id}`, {
    hint: 'hydra-ops hydra status PROJECT:JOBSET shows the builds of the newest evaluation',
  })
}

export function buildsOf(api: HydraApi, evaluationId: number): Promise<Build[]> {
  return api.get(`/eval/${evaluationId}/builds`, Builds)
}

/** Returns the parts of an aggregate; a build of another kind has no parts. */
export function constituentsOf(api: HydraApi, buildId: number): Promise<Build[]> {
  return api.get(`/build/${buildId}/constituents`, Builds)
}

/** Returns the build of a job in an evaluation. */
export function buildIn(api: HydraApi, evaluationId: number, job: string): Promise<Build | undefined> {
  return behind(api, `/eval/${evaluationId}/job/${job}`)
}

/**
 * Returns the newest successful build of a job. `whole` restricts the search to evaluations without unfinished builds.
 * A single stuck job then hides every newer evaluation (measured).
 */
export function latestBuild(
  api: HydraApi,
  job: JobName,
  { whole }: { readonly whole: boolean },
): Promise<Build | undefined> {
  return behind(api, `${jobPath(job)}/${whole ? 'latest-finished' : 'latest'}`)
}

/** Returns the build behind a redirect, whose page may itself redirect to another page. */
async function behind(api: HydraApi, path: string): Promise<Build | undefined> {
  const target = await api.target(path)
  return target === undefined ? undefined : api.find(target, Build)
}

export async function jobset(api: HydraApi, which: JobsetName): Promise<Jobset> {
  const found = await api.find(jobsetPath(which), Jobset)
  if (found === undefined) throw await noSuchJobset(api, which)
  return found
}

/**
 * Returns the text of the last failed evaluation, or '' if there is none. Only a separate page has this text; a Hydra
 * of 2022 has it on the jobset's own page instead (measured).
 */
export async function evaluationErrors(api: HydraApi, which: JobsetName): Promise<string> {
  const path = jobsetPath(which)
  const found = (await api.find(`${path}/errors`, Jobset)) ?? (await api.find(path, Jobset))
  return errorTexts(found === undefined ? [] : [found])
}

/** Name of the jobset that makes the other jobsets of a declarative project. */
export const declarativeJobset = '.jobsets'
/** Seconds between the end of a failed check and the recording of its error, with a margin. */
const recordingSeconds = 60

/**
 * Tells whether later checks did not find the jobset's error again. Hydra never clears the error of a `.jobsets` whose
 * jobsets stand in a file (hydra#1218); such a jobset has no builds.
 */
export function keepsOldError(row: JobsetRow): boolean {
  const { name, nrtotal, errortime, lastcheckedtime } = row
  const isStatic = name === declarativeJobset && (nrtotal ?? 0) === 0
  const isFetched = (row.fetcherrormsg ?? '') === ''
  return (
    isStatic &&
    isFetched &&
    (lastcheckedtime ?? 0) > (errortime ?? Number.POSITIVE_INFINITY) + recordingSeconds
  )
}

/** Joins the error texts of a jobset's pages. */
export function errorTexts(pages: readonly Pick<Jobset, 'errormsg' | 'fetcherrormsg'>[]): string {
  const texts = pages.flatMap(({ errormsg, fetcherrormsg }) => [fetcherrormsg ?? '', errormsg ?? ''])
  return texts.filter((text) => text.trim() !== '').join('\n')
}

export async function jobsets(api: HydraApi, project: string): Promise<JobsetRow[]> {
  const found = await api.find(`/api/jobsets?project=${project}`, z.array(JobsetRow))
  if (found === undefined) throw await noSuchProject(api, project)
  return found
}

export function projects(api: HydraApi): Promise<Project[]> {
  return api.get('/', z.array(Project))
}

/** Returns the unfinished builds. */
export function queue(api: HydraApi): Promise<Build[]> {
  return api.get('/queue', Builds)
}

/** Returns the builds with a running step. */
export function running(api: HydraApi): Promise<Build[]> {
  return api.get('/status', Builds)
}

export function runnerStatus(api: HydraApi): Promise<RunnerStatus> {
  return api.get('/queue-runner-status', RunnerStatus)
}

/** Returns the newest finished builds of a job, newest first. */
export function latestBuilds(
  api: HydraApi,
  { project, jobset, job }: JobName,
  count: number,
): Promise<Build[]> {
  return api.get(`/api/latestbuilds?nr=${count}&project=${project}&jobset=${jobset}&job=${job}`, Builds)
}

/** Returns the log of a build, or undefined if there is no log yet. */
export function logOf(api: HydraApi, buildId: number): Promise<string | undefined> {
  return api.text(`/build/${buildId}/log/raw`)
}

/** Returns a job's page for Prometheus. Hydra's page fails if the job has never finished (measured). */
export function jobMetrics(api: HydraApi, job: JobName): Promise<string | undefined> {
  return api.text(`${jobPath(job)}/prometheus`)
}

/**
 * Creates the error for a missing jobset, with the jobsets that exist. Hydra's own text does not distinguish a missing
 * project.
 */
export async function noSuchJobset(api: HydraApi, which: JobsetName): Promise<OpsError> {
  const project = await api.find(`/project/${which.project}`, Project)
  if (project === undefined) return noSuchProject(api, which.project)
  return absent(
    api,
    `project '${which.project}' has no jobset '${which.jobset}'`,
    which.jobset,
    project.jobsets,
  )
}

async function noSuchProject(api: HydraApi, project: string): Promise<OpsError> {
  const names = (await projects(api)).map((each) => each.name)
  return absent(api, `there is no project '${project}'`, project, names)
}

/** Creates the error for a job that an evaluation lacks, with the jobs that the evaluation has. */
export function noSuchJob(
  api: HydraApi,
  evaluationId: number,
  job: string,
  jobs: readonly string[],
): OpsError {
  return absent(api, `evaluation ${evaluationId} has no job '${job}'`, job, jobs)
}

function absent(api: HydraApi, what: string, wanted: string, known: readonly string[]): OpsError {
  const close = suggest(wanted, known)
  const list = known.length === 0 ? 'there are none' : `there are: ${[...known].sort().join(', ')}`
  return failure('HYDRA_ABSENT', `Hydra at ${api.url}: ${what}`, {
    hint: close === undefined ? list : `did you mean '${close}'? ${list}`,
  })
}
