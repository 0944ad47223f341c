import { describeAge } from '../core/ages.js'
import type { Ops } from '../core/context.js'
import type { HydraApi } from '../hydra/api.js'
import { readJobMetrics } from '../hydra/metrics.js'
import { readPlace } from '../hydra/names.js'
import { judgeQueue } from '../hydra/queue-state.js'
import * as read from '../hydra/read.js'
import type { JobsetRow } from '../hydra/replies.js'
import { type HydraChoice, openHydraApi } from './hydra-at.js'
import { newestJobs } from './hydra-status.js'

export interface CheckHydraRequest extends HydraChoice {
  readonly place: string
  readonly gate: string
  /** Maximum age, in seconds, of the gate's last success. */
  readonly maxAge: number | undefined
  /** Seconds after which an evaluation that waits or runs counts as stuck. */
  readonly stuckAfter: number
}

/** Looks for problems of a Hydra; returns one sentence per problem. */
export async function checkHydra(ops: Ops, request: CheckHydraRequest): Promise<string[]> {
  const { project, jobset, job } = readPlace(request.place)
  const api = await openHydraApi(ops, request)
  const rows = (await read.jobsets(api, project)).filter(
    ({ name }) => jobset === undefined || name === jobset,
  )
  if (jobset !== undefined && rows.length === 0) throw await read.noSuchJobset(api, { project, jobset })
  const problems = await queueProblems(api, ops.now())
  for (const row of rows) {
    const enabled = (await read.jobset(api, { project, jobset: row.name })).enabled !== 0
    if (enabled) problems.push(...(await evaluatorProblems(api, row, request, ops.now())))
    // The jobset that makes the others has no gate.
    if (row.name === read.declarativeJobset && jobset === undefined) continue
    problems.push(...(await jobProblems(api, row, { ...request, job }, ops.now())))
  }
  return problems
}

async function queueProblems(api: HydraApi, now: Date): Promise<string[]> {
  const [status, queue] = await Promise.all([read.runnerStatus(api), read.queue(api)])
  const { kind, blocked } = judgeQueue(status, queue.length, now)
  return kind === 'busy' || kind === 'idle'
    ? []
    : blocked.map(({ steps, cause, remedy }) => `queue: ${cause} (${steps} waiting); ${remedy}`)
}

async function evaluatorProblems(
  api: HydraApi,
  row: JobsetRow,
  { stuckAfter }: CheckHydraRequest,
  now: Date,
): Promise<string[]> {
  const name = `${row.project}:${row.name}`
  const since = row.starttime ?? row.triggertime
  const age = since == null ? 0 : now.getTime() / 1000 - since
  const stuck =
    age > stuckAfter
      ? [
          `${name}: the evaluation has been ${row.starttime == null ? 'waiting' : 'running'} for ${describeAge(age)}; run systemctl status hydra-evaluator on the Hydra machine`,
        ]
      : []
  if (read.keepsOldError(row)) return stuck
  const error =
    row.errortime == null ? '' : await read.evaluationErrors(api, { project: row.project, jobset: row.name })
  const [line = ''] = (row.fetcherrormsg || error).trim().split('\n', 1)
  return line === '' ? stuck : [...stuck, `${name}: the last evaluation failed: ${line}`]
}

/** Judges the wanted job, or the gate, by its Prometheus page. */
async function jobProblems(
  api: HydraApi,
  row: JobsetRow,
  { job, gate, maxAge }: CheckHydraRequest & { readonly job: string | undefined },
  now: Date,
): Promise<string[]> {
  const { project, name: jobset } = row
  const wanted = job ?? gate
  const jobs = await newestJobs(api, row)
  if (!jobs.includes(wanted))
    return [
      `${project}:${jobset}: the newest evaluation has no job '${wanted}' (it has: ${jobs.join(', ') || 'none'})`,
    ]
  const [last] = await read.latestBuilds(api, { project, jobset, job: wanted }, 1)
  if (last === undefined) return [`${project}:${jobset}:${wanted} has never finished`]
  const page = await read.jobMetrics(api, { project, jobset, job: wanted })
  const metrics = page === undefined ? undefined : readJobMetrics(page)
  if (metrics === undefined) return [`${project}:${jobset}:${wanted}: Hydra has no figures about the job`]
  if (metrics.failed) return [`${project}:${jobset}:${wanted} failed: ${api.url}/build/${last.id}`]
  const age = now.getTime() / 1000 - metrics.completedAt
  return maxAge !== undefined && age > maxAge
    ? [
        `${project}:${jobset}:${wanted}: the last success is ${describeAge(age)} old, older than --max-age allows`,
      ]
    : []
}
