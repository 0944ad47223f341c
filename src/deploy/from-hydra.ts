import { describeAge } from '../core/ages.js'
import type { Ops } from '../core/context.js'
import type { MachineDefinition, NetworkDefinition } from '../core/definition.js'
import type { DeploymentRecord, HydraOrigin } from '../core/deployment.js'
import { failure, usageError } from '../core/errors.js'
import { type MachineName, StorePath } from '../core/names.js'
import type { PlanItem } from '../core/plan.js'
import { settleAll } from '../core/settle.js'
import { checkEach } from '../core/several-errors.js'
import { type HydraApi, hydraApi } from '../hydra/api.js'
import { type Choice, type ChosenBuild, choose, type Wish } from '../hydra/choose.js'
import type { JobName, JobsetName } from '../hydra/names.js'
import type { Evaluation } from '../hydra/replies.js'
import { operatorRun, wayFromOperator } from '../hydra/way.js'
import { definitionIn } from '../network/evaluate.js'
import type { DeployRequest } from './request.js'

/** Wish of a deploy for a Hydra's results, as given by the flags. */
export interface HydraWish extends Pick<Wish, 'which' | 'ignoreGate' | 'maxAge'> {
  /** Jobset that the flags name, instead of the jobset in the network expression. */
  readonly source: (JobsetName & { readonly url: string; readonly job?: string }) | undefined
  /** Job that the flags name as the gate. */
  readonly job: JobName | undefined
  /** Whether a machine may go back to an evaluation older than its current one. */
  readonly allowOlder: boolean
  /** Whether a path without a trusted signature is accepted. */
  readonly allowUnsigned: boolean
}

/** A build of a Hydra that a machine is to run. */
export interface HydraBuild {
  readonly origin: HydraOrigin
  readonly path: StorePath
  readonly allowUnsigned: boolean
  /** Age of the evaluation, as a phrase for the plan. */
  readonly age: string
}

/** The jobset that builds machines, with the job that serves as its gate. */
export interface HydraPlace extends JobsetName {
  readonly url: string
  readonly gate: string
}

/** Resolves the wish of a deploy, and returns the request with the closures and their origins. */
export async function withHydraBuilds(
  ops: Pick<Ops, 'signal' | 'now' | 'events'>,
  record: DeploymentRecord,
  network: NetworkDefinition,
  { request, wanted }: { readonly request: DeployRequest; readonly wanted: readonly MachineName[] },
): Promise<DeployRequest> {
  const wish = request.fromHydra
  if (wish === undefined || wanted.length === 0) return request
  if (request.closures.size > 0) throw usageError('--closure and --from-hydra cannot be combined')
  const definitions = wanted.map((name) => definitionIn(network, name))
  const place = placeOf(definitions, network, wish)
  const api = hydraApi(wayFromOperator(place.url, operatorRun(ops)))
  const { builds, passed } = await buildsFor(api, place, { definitions, wish, record, now: ops.now() })
  for (const { id, why } of passed.slice(0, 3)) {
    ops.events.emit({
      kind: 'notice',
      text: `a newer evaluation is passed over: ${place.url}/eval/${id}: ${why}`,
    })
  }
  return { ...request, builds, closures: new Map([...builds].map(([name, { path }]) => [name, path])) }
}

/** Finds the one jobset of all machines; each part comes from the flags, the machine or the network. */
export function placeOf(
  definitions: readonly MachineDefinition[],
  { hydra = {} }: Pick<NetworkDefinition, 'hydra'>,
  { source, job }: Pick<HydraWish, 'source' | 'job'>,
): HydraPlace {
  const places = definitions.map(({ name, options: { hydraSource: own } }) => {
    const url = source?.url ?? own.url ?? hydra.url
    const project = job?.project ?? source?.project ?? own.project ?? hydra.project
    const jobset = job?.jobset ?? source?.jobset ?? own.jobset ?? hydra.jobset
    const gate = job?.job ?? source?.job ?? own.gate ?? hydra.gate ?? 'release'
    if (url == null) throw noPlace(name, 'url')
    if (project == null) throw noPlace(name, 'project')
    if (jobset == null) throw noPlace(name, 'jobset')
    return { name, place: { url: url.replace(/\/+$/, ''), project, jobset, gate } }
  })
  const [first, ...others] = places
  if (first === undefined) throw new Error('a jobset was requested without a machine')
  const other = others.find(({ place }) => textOf(place) !== textOf(first.place))
  if (other === undefined) return first.place
  throw usageError(
    `machines '${first.name}' and '${other.name}' come from different places: ${textOf(first.place)} and ${textOf(other.place)}`,
    { hint: 'one deploy takes one evaluation: select the machines of one place with --include' },
  )
}

function textOf({ url, project, jobset, gate }: HydraPlace): string {
  return `${url}/job/${project}/${jobset}/${gate}`
}

function noPlace(machine: string, part: string): Error {
  return usageError(`machine '${machine}': no option says which Hydra builds it (${part})`, {
    machine,
    hint: 'set network.hydra = { url = "https://hydra.example.org"; project = "infra"; jobset = "main"; }; or use --from-hydra URL/job/PROJECT/JOBSET',
  })
}

interface Looking {
  readonly definitions: readonly MachineDefinition[]
  readonly wish: HydraWish
  readonly record: DeploymentRecord
  readonly now: Date
}

/** Finds the build of each machine, and refuses builds that the request does not allow. */
export async function buildsFor(
  api: HydraApi,
  place: HydraPlace,
  { definitions, wish, record, now }: Looking,
): Promise<{ readonly builds: Map<MachineName, HydraBuild>; readonly passed: Choice['passed'] }> {
  const { which, ignoreGate, maxAge, allowUnsigned } = wish
  const choice = await choose(api, { jobset: place, gate: place.gate, which, ignoreGate, maxAge }, now)
  const found = await settleAll(
    definitions.map(async ({ name, options }) => {
      const job = options.hydraSource.job ?? name
      return { name, job, chosen: await choice.result(job, name) }
    }),
  )
  const builds = new Map<MachineName, HydraBuild>()
  for (const { name, job, chosen } of found) {
    const path = StorePath.safeParse(chosen.path)
    if (!path.success) throw otherStore(api, name, chosen)
    const origin = originOf(place, job, chosen)
    builds.set(name, { origin, path: path.data, allowUnsigned, age: ageOf(chosen.evaluation, now) })
  }
  if (!wish.allowOlder) checkEach(builds, ([name, build]) => refuseOlder(name, build, record))
  return { builds, passed: choice.passed }
}

function otherStore(api: HydraApi, machine: string, { build, path }: ChosenBuild): Error {
  return failure(
    'HYDRA_NO_JOB',
    `machine '${machine}': build ${build.id} at ${api.url} has the result ${path}, which is not a path of /nix/store`,
    { machine, hint: 'hydra-ops deploys only paths of /nix/store' },
  )
}

function originOf(place: HydraPlace, job: string, { build, evaluation }: ChosenBuild): HydraOrigin {
  const { url, project, jobset } = place
  const at = evaluation.timestamp
  return {
    url,
    project,
    jobset,
    job,
    evaluation: evaluation.id,
    build: build.id,
    inputs: revisionsOf(evaluation),
    ...(at == null ? {} : { evaluatedAt: new Date(at * 1000).toISOString() }),
  }
}

/**
 * Returns the revision of each input. A flake's revision is part of its URL, and the revision of a path is the hash of
 * its contents.
 */
function revisionsOf({ jobsetevalinputs, flake }: Evaluation): Record<string, string> {
  const revisions = Object.entries(jobsetevalinputs).flatMap(([name, { revision }]) =>
    revision == null || revision === '' ? [] : [[name, revision] as const],
  )
  return { ...Object.fromEntries(revisions), ...(flake == null || flake === '' ? {} : { flake }) }
}

function ageOf({ timestamp }: Evaluation, now: Date): string {
  return timestamp == null ? 'of unknown age' : `${describeAge(now.getTime() / 1000 - timestamp)} old`
}

/** Refuses an evaluation that is older than the evaluation whose result the machine runs. */
function refuseOlder(machine: MachineName, { origin, path }: HydraBuild, record: DeploymentRecord): void {
  const deployed = record.machines[machine]?.deployed
  const runs = deployed?.hydra
  if (runs === undefined || deployed?.path === path || !isOlder(origin, runs)) return
  throw failure(
    'HYDRA_OLDER',
    `machine '${machine}' runs evaluation ${runs.evaluation} of ${runs.project}:${runs.jobset}, which is newer than evaluation ${origin.evaluation}`,
    {
      machine,
      hint: '--allow-older deploys the older evaluation; hydra-ops rollback brings back the system that ran before the last deploy',
    },
  )
}

function isOlder(next: HydraOrigin, present: HydraOrigin): boolean {
  const same = next.url === present.url && next.project === present.project && next.jobset === present.jobset
  if (same) return next.evaluation < present.evaluation
  const [to, from] = [next.evaluatedAt, present.evaluatedAt]
  return to !== undefined && from !== undefined && to < from
}

/** Describes where a closure comes from, and what the machine runs now, for the plan. */
export function originItem({ origin, age }: HydraBuild, runs: HydraOrigin | undefined): PlanItem {
  const { url, evaluation, build, project, jobset } = origin
  return {
    subject: 'hydra',
    action: 'activate',
    detail: `evaluation ${evaluation} of ${project}:${jobset}, ${age}, ${inputsText(origin)} · ${url}/build/${build}`,
    ...(runs === undefined
      ? { note: 'runs no build of a Hydra yet' }
      : {
          note: `runs evaluation ${runs.evaluation} of ${runs.project}:${runs.jobset}${changedInputs(runs, origin)}`,
        }),
  }
}

function inputsText({ inputs }: HydraOrigin): string {
  const known = Object.entries(inputs)
  return known.length === 0
    ? 'inputs without revisions'
    : known.map(([name, revision]) => `${name} ${short(revision)}`).join(', ')
}

function changedInputs(before: HydraOrigin, after: HydraOrigin): string {
  const changed = Object.entries(before.inputs).filter(([name, revision]) => after.inputs[name] !== revision)
  return changed.map(([name, revision]) => `, ${name} ${short(revision)}`).join('')
}

/** Shortens a Git revision; other revisions stay as they are. */
function short(revision: string): string {
  return /^[0-9a-f]{40}$/.test(revision) ? revision.slice(0, 12) : revision
}
