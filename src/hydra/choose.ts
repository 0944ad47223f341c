import { describeAge } from '../core/ages.js'
import { failure, type OpsError } from '../core/errors.js'
import { suggest } from '../core/suggest.js'
import type { HydraApi } from './api.js'
import type { JobsetName } from './names.js'
import * as read from './read.js'
import { type Build, buildState, describeBuild, type Evaluation } from './replies.js'

/** Wish for the results of one evaluation of a jobset. */
export interface Wish {
  readonly jobset: JobsetName
  /** Job that must have succeeded: an aggregate or a test of all machines. */
  readonly gate: string
  readonly which: /** Newest evaluation with a green gate. */
    | { readonly kind: 'green' }
    /** Newest evaluation as Hydra defines it: no build of the evaluation is unfinished. */
    | { readonly kind: 'latest-finished' }
    | { readonly kind: 'evaluation'; readonly id: number }
    | { readonly kind: 'build'; readonly id: number }
    /** Newest success of each job, from any evaluation. */
    | { readonly kind: 'latest' }
  /** Whether a deploy ignores a gate that is not green. */
  readonly ignoreGate: boolean
  /** Maximum age of the evaluation in seconds. */
  readonly maxAge: number | undefined
}

/** A build to deploy, with the evaluation that it belongs to. */
export interface ChosenBuild {
  readonly build: Build
  readonly path: string
  readonly evaluation: Evaluation
}

/** The results that a wish leads to. */
export interface Choice {
  /** The one evaluation of all results; absent if each job has its own newest evaluation. */
  readonly evaluation: Evaluation | undefined
  /** Build of the gate. */
  readonly gate: Build | undefined
  /** Newer evaluations that were passed over, newest first, each with the reason. */
  readonly passed: readonly { readonly id: number; readonly why: string }[]
  /**
   * Returns the result of a job; throws an error if the job has no result. `machine` is the machine that wants the job.
   */
  result(job: string, machine: string): Promise<ChosenBuild>
}

/** Maximum number of evaluations in the search for a green gate. */
const mostEvaluations = 500

/**
 * Finds the results to deploy. Refuses results that the wish excludes, and names the flag that overrides the refusal.
 */
export async function choose(api: HydraApi, wish: Wish, now: Date): Promise<Choice> {
  if (wish.which.kind === 'latest') return latestOfEach(api, wish, now)
  const found = await findGate(api, wish, now)
  refuseOld(api, wish, found.evaluation, now)
  return { ...found, result: await resultsOf(api, wish, found) }
}

interface Found {
  readonly evaluation: Evaluation
  readonly gate: Build | undefined
  readonly passed: Choice['passed']
}

async function findGate(api: HydraApi, wish: Wish, now: Date): Promise<Found> {
  switch (wish.which.kind) {
    case 'evaluation':
      return gateOf(api, wish, await ofJobset(api, wish, wish.which.id))
    case 'build':
      return gateIs(api, wish, await read.build(api, wish.which.id))
    case 'latest-finished':
      return latestFinished(api, wish)
    default:
      return newestGreen(api, wish, now)
  }
}

/**
 * Searches the evaluations for the newest green gate. Hydra's own `latest-finished` skips an evaluation with an
 * unfinished build, even if its gate is green (measured).
 */
async function newestGreen(api: HydraApi, wish: Wish, now: Date): Promise<Found> {
  const passed: { id: number; why: string }[] = []
  for await (const evaluation of read.evaluationsOf(api, wish.jobset)) {
    if (passed.length >= mostEvaluations) break
    if (passed.length > 0 && isOld(wish, evaluation, now)) break
    const gate = await read.buildIn(api, evaluation.id, wish.gate)
    if (gate !== undefined && buildState(gate) === 'succeeded') return { evaluation, gate, passed }
    passed.push({
      id: evaluation.id,
      why: gate === undefined ? `no job '${wish.gate}'` : `build ${gate.id}: ${describeBuild(gate)}`,
    })
  }
  throw await neverGreen(api, wish, passed)
}

async function neverGreen(api: HydraApi, wish: Wish, passed: Choice['passed']): Promise<OpsError> {
  const { project, jobset } = wish.jobset
  const [newest] = passed
  if (newest === undefined) {
    return failure('HYDRA_GATE', `Hydra at ${api.url}: jobset ${project}:${jobset} has no evaluation yet`, {
      hint: `hydra-ops hydra eval ${project}:${jobset} requests an evaluation; hydra-ops hydra status ${project}:${jobset} shows the errors of the jobset`,
    })
  }
  if (newest.why.startsWith('no job')) {
    const jobs = await jobsOf(api, newest.id)
    if (!jobs.includes(wish.gate)) return read.noSuchJob(api, newest.id, wish.gate, jobs)
  }
  const age = wish.maxAge === undefined ? '' : ' that is young enough for --max-age'
  return failure(
    'HYDRA_GATE',
    `Hydra at ${api.url}: no evaluation of ${project}:${jobset}${age} has a green gate '${wish.gate}'`,
    {
      hint: 'fix the build; --eval N --ignore-gate deploys an evaluation anyway, and --latest deploys the newest success of each machine',
      detail: passed
        .slice(0, 5)
        .map(({ id, why }) => `${api.url}/eval/${id}: ${why}`)
        .join('\n'),
    },
  )
}

async function jobsOf(api: HydraApi, evaluationId: number): Promise<string[]> {
  return (await read.buildsOf(api, evaluationId)).flatMap(({ job }) => job ?? [])
}

/** Returns the evaluation; refuses an evaluation of another jobset, whose machines may have the same names. */
async function ofJobset(api: HydraApi, wish: Wish, id: number): Promise<Evaluation> {
  const evaluation = await read.evaluation(api, id)
  const [first] = evaluation.builds
  if (first !== undefined) refuseOtherJobset(api, wish, `evaluation ${id}`, await read.build(api, first))
  return evaluation
}

function refuseOtherJobset(api: HydraApi, wish: Wish, what: string, { project, jobset }: Build): void {
  if (project === wish.jobset.project && jobset === wish.jobset.jobset) return
  throw failure(
    'HYDRA_ABSENT',
    `Hydra at ${api.url}: ${what} belongs to the jobset ${project}:${jobset}, not to ${wish.jobset.project}:${wish.jobset.jobset}`,
    { hint: `--from-hydra ${api.url}/job/${project}/${jobset} chooses that jobset` },
  )
}

async function gateOf(api: HydraApi, wish: Wish, evaluation: Evaluation): Promise<Found> {
  const gate = await read.buildIn(api, evaluation.id, wish.gate)
  if (gate === undefined && !wish.ignoreGate)
    throw read.noSuchJob(api, evaluation.id, wish.gate, await jobsOf(api, evaluation.id))
  if (gate !== undefined) refuseRed(api, wish, gate)
  return { evaluation, gate, passed: [] }
}

async function gateIs(api: HydraApi, wish: Wish, gate: Build): Promise<Found> {
  refuseOtherJobset(api, wish, `build ${gate.id}`, gate)
  refuseRed(api, wish, gate)
  return { evaluation: await evaluationWith(api, gate), gate, passed: [] }
}

function refuseRed(api: HydraApi, wish: Wish, gate: Build): void {
  if (wish.ignoreGate || buildState(gate) === 'succeeded') return
  throw failure(
    'HYDRA_GATE',
    `Hydra at ${api.url}: the gate is not green: build ${gate.id} of '${gate.job}': ${describeBuild(gate)}`,
    { hint: `${api.url}/build/${gate.id} shows the build; --ignore-gate deploys anyway` },
  )
}

async function latestFinished(api: HydraApi, wish: Wish): Promise<Found> {
  const gate = await read.latestBuild(api, { ...wish.jobset, job: wish.gate }, { whole: true })
  if (gate !== undefined) return { evaluation: await evaluationWith(api, gate), gate, passed: [] }
  // Hydra answers a missing jobset in the same way, so this query checks that the jobset exists.
  await read.jobset(api, wish.jobset)
  throw failure(
    'HYDRA_GATE',
    `Hydra at ${api.url}: no evaluation of ${wish.jobset.project}:${wish.jobset.jobset} without unfinished builds has a green gate '${wish.gate}'`,
    {
      hint: 'a single stuck build hides an evaluation from --latest-finished; leave the flag out, or cancel the build',
    },
  )
}

/** Returns the newest evaluation that the build belongs to. */
async function evaluationWith(api: HydraApi, build: Build): Promise<Evaluation> {
  const newest = Math.max(...build.jobsetevals)
  if (Number.isFinite(newest)) return read.evaluation(api, newest)
  throw failure('HYDRA_ABSENT', `Hydra at ${api.url}: build ${build.id} no longer belongs to an evaluation`, {
    hint: 'Hydra forgets evaluations beyond keepEvaluations; choose a newer build',
  })
}

function ageOf(evaluation: Evaluation, now: Date): number | undefined {
  return evaluation.timestamp == null ? undefined : now.getTime() / 1000 - evaluation.timestamp
}

function isOld(wish: Wish, evaluation: Evaluation, now: Date): boolean {
  const age = ageOf(evaluation, now)
  return wish.maxAge !== undefined && age !== undefined && age > wish.maxAge
}

function refuseOld(api: HydraApi, wish: Wish, evaluation: Evaluation, now: Date): void {
  if (!isOld(wish, evaluation, now)) return
  throw failure(
    'HYDRA_OLD',
    `Hydra at ${api.url}: evaluation ${evaluation.id} is ${describeAge(ageOf(evaluation, now) ?? 0)} old, older than --max-age allows`,
    {
      hint: `a longer --max-age deploys the evaluation; ${api.url}/eval/${evaluation.id} shows it`,
    },
  )
}

/** Reads the results of an evaluation: the parts of an aggregate, or all builds if the gate has no parts. */
async function resultsOf(api: HydraApi, wish: Wish, { evaluation, gate }: Found): Promise<Choice['result']> {
  const parts = gate === undefined ? [] : await read.constituentsOf(api, gate.id)
  const single = wish.which.kind === 'build' && parts.length === 0 && gate !== undefined
  const builds = single ? [gate] : parts.length > 0 ? parts : await read.buildsOf(api, evaluation.id)
  const where =
    gate !== undefined && (single || parts.length > 0)
      ? `build ${gate.id} ('${gate.job}') of evaluation ${evaluation.id}`
      : `evaluation ${evaluation.id}`
  return async (job, machine) => {
    const build = builds.find((each) => each.job === job)
    if (build === undefined)
      throw notAmong(api, where, { job, machine, jobs: builds.flatMap((each) => each.job ?? []) })
    // A green aggregate proves that its parts were built, even if Hydra restarted a part or lists it as unfinished.
    const proven = parts.length > 0 && gate !== undefined && buildState(gate) === 'succeeded'
    return { build, evaluation, path: resultOf(api, build, machine, proven) }
  }
}

function notAmong(
  api: HydraApi,
  where: string,
  {
    job,
    machine,
    jobs,
  }: { readonly job: string; readonly machine: string; readonly jobs: readonly string[] },
): OpsError {
  const close = suggest(job, jobs)
  const list = `these are: ${[...jobs].sort().join(', ')}`
  return failure(
    'HYDRA_NO_JOB',
    `machine '${machine}': its job '${job}' is not among the jobs of ${where} at ${api.url}`,
    {
      machine,
      hint: `${close === undefined ? '' : `did you mean '${close}'? `}${list}; deployment.hydraSource.job names the job of a machine, and --include selects other machines`,
    },
  )
}

/** Returns the path of a build's result. `proven` means that another build needed the result and succeeded. */
function resultOf(api: HydraApi, build: Build, machine: string, proven = false): string {
  const state = buildState(build)
  if (state === 'failed' || (state === 'waiting' && !proven)) {
    throw failure(
      'HYDRA_GATE',
      `machine '${machine}': Hydra at ${api.url} has no result of build ${build.id} ('${build.job}'): ${describeBuild(build)}`,
      { machine, hint: `${api.url}/build/${build.id} shows the build` },
    )
  }
  const path = build.buildoutputs.out?.path
  if (path != null) return path
  throw failure(
    'HYDRA_NO_JOB',
    `machine '${machine}': build ${build.id} ('${build.job}') at ${api.url} has no output 'out'`,
    { machine, hint: 'the job of a machine must build its system, as in hydra/default.nix' },
  )
}

/** Chooses the newest success of each job; the machines may then come from different evaluations. */
async function latestOfEach(api: HydraApi, wish: Wish, now: Date): Promise<Choice> {
  const { project, jobset } = wish.jobset
  await read.jobset(api, wish.jobset)
  return {
    evaluation: undefined,
    gate: undefined,
    passed: [],
    async result(job, machine) {
      const build = await read.latestBuild(api, { project, jobset, job }, { whole: false })
      if (build === undefined) {
        throw failure(
          'HYDRA_NO_JOB',
          `machine '${machine}': job '${job}' of ${project}:${jobset} at ${api.url} has never succeeded`,
          { machine, hint: `hydra-ops hydra status ${project}:${jobset}:${job} shows the builds of the job` },
        )
      }
      const evaluation = await evaluationWith(api, build)
      refuseOld(api, wish, evaluation, now)
      return { build, evaluation, path: resultOf(api, build, machine) }
    },
  }
}
