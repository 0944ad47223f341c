import { failure } from '../core/errors.js'
import { MachineName, type StorePath } from '../core/names.js'
import type { Fetchable, FetchOptions, FetchProblem } from '../core/nix.js'
import { hostOf } from '../machine/connect.js'
import { journal, recordOf, updateJob } from '../machine/machine.js'
import { physicalOf } from '../network/evaluate.js'
import { type LanHost, nameMachines } from '../remote/name-machines.js'
import type { Survey } from '../systems/system.js'
import type { Assessment } from './assess.js'
import { copyClosure, refuseWhenFull } from './copy-closure.js'
import type { Job } from './job.js'

const kinds: Readonly<Record<FetchProblem['kind'], string>> = {
  absent: 'no cache has the path',
  unsigned: 'the path is not signed by a trusted key',
  unreachable: 'a cache does not answer',
  full: 'no space is left',
  other: 'the fetch failed',
}

const hints: Readonly<Record<FetchProblem['kind'], string>> = {
  absent:
    'add the cache of Hydra to the substituters (deployment.nix.substituters; --option extra-substituters URL for this host), or deploy without --from-hydra to build the path',
  unsigned:
    'add the public key of the cache (deployment.nix.trustedPublicKeys; --option extra-trusted-public-keys KEY for this host); --allow-unsigned accepts the path anyway',
  unreachable: 'check that the cache runs, and that its address is right for the machine',
  full: 'collect garbage (nix-store --gc), or make the disk larger',
  other: 'read the messages of Nix',
}

/** Returns whether a Hydra built the closure of a machine. */
export function comesFromHydra({ request, machine }: Job): boolean {
  return request.builds.has(machine)
}

function optionsOf(job: Job): FetchOptions {
  return { allowUnsigned: job.request.builds.get(job.machine)?.allowUnsigned ?? false }
}

/**
 * Queries a running machine about the paths that it would fetch. Returns undefined while the machine is down, has no
 * Nix yet, or cannot resolve the names of its caches yet.
 */
export async function askMachine(job: Job, seen: Assessment): Promise<Fetchable | undefined> {
  const { look, wanted } = seen
  if (wanted === undefined || job.host === undefined || look?.survey.hasNix !== true) return undefined
  if (unknownHosts(job, look.survey).length > 0) return undefined
  return job.ops.nix.fetchable(job.host, wanted, optionsOf(job), job.run)
}

/**
 * Makes sure that a machine can get the closure, before any machine is touched. The machine fetches the closure itself
 * later, or this host fetches now. A machine with a due task for Nix decides later, because its caches may change.
 */
export async function ensureFetchable(job: Job, seen: Assessment): Promise<void> {
  const { wanted } = seen
  if (wanted === undefined || (await job.ops.nix.isBuilt(wanted))) return
  const asked = await askMachine(job, seen)
  const nixChanges = seen.look?.tasks.some(({ task, why }) => task.id === 'nix' && why !== undefined) === true
  if (asked === undefined || asked.kind !== 'absent' || nixChanges) return
  await fetchHere(job, wanted, asked.problem)
}

/**
 * Delivers a Hydra's build to the machine. The machine fetches the build itself, or else this host fetches and copies
 * the build.
 */
export async function fetchClosure(job: Job, path: StorePath, survey: Survey): Promise<void> {
  const { nix } = job.ops
  const unfinished = recordOf(job).unfinishedCopy
  const cutOff = unfinished !== undefined && unfinished.bootId !== survey.bootId
  // The repair of damaged paths needs the whole closure on this host.
  if (job.request.check || cutOff) {
    if (!(await nix.isBuilt(path))) await fetchHere(job, path, undefined)
    return copyClosure(job, path, survey)
  }
  const host = hostOf(job)
  const hosts = unknownHosts(job, survey)
  if (hosts.length > 0) await nameMachines(host, hosts, job.run)
  const asked = await nix.fetchable(host, path, optionsOf(job), job.run)
  if (asked.kind === 'valid') return endUnfinished(job)
  const problem = asked.kind === 'absent' ? asked.problem : await fetchThere(job, path, survey, asked)
  if (problem === undefined) return
  job.run.log(
    `the machine cannot fetch ${path}: ${kinds[problem.kind]}; this host fetches and copies the path`,
  )
  if (!(await nix.isBuilt(path))) await fetchHere(job, path, problem)
  return copyClosure(job, path, survey)
}

/**
 * Lists the machines that a new machine cannot resolve by name before it has a closure of this network. Its cache may be
 * such a machine. A NixOS machine has another closure from the beginning.
 */
function unknownHosts(job: Job, { profile }: Survey): LanHost[] {
  if (profile !== undefined && recordOf(job).deployed !== undefined) return []
  return Object.entries(physicalOf(job.ops, job.deployment.record)).flatMap(
    ([name, { privateIPv4: address }]) =>
      address === undefined ? [] : [{ address, name: MachineName.parse(name) }],
  )
}

/** Clears the record of a copy that was interrupted since the last boot: Nix has completed or dropped each path. */
async function endUnfinished(job: Job): Promise<void> {
  if (recordOf(job).unfinishedCopy === undefined) return
  await updateJob(job, (draft) => {
    draft.unfinishedCopy = undefined
  })
}

async function fetchThere(
  job: Job,
  path: StorePath,
  survey: Survey,
  { paths, bytes }: Extract<Fetchable, { kind: 'fetchable' }>,
): Promise<FetchProblem | undefined> {
  refuseWhenFull(job, bytes, survey)
  await updateJob(job, (draft) => {
    draft.unfinishedCopy = { path, bootId: survey.bootId }
  })
  job.run.log(`the machine fetches ${paths === 1 ? '1 path' : `${paths} paths`}`)
  await journal(job, 'fetch', { data: path })
  const problem = await job.ops.nix.fetch(hostOf(job), path, optionsOf(job), job.run)
  await journal(job, 'fetch', { result: problem === undefined ? 'done' : problem.kind })
  await endUnfinished(job)
  if (problem === undefined) job.changed = true
  return problem
}

/** Fetches a path to this host. The error also names the machine's problem, since either fix would do. */
async function fetchHere(job: Job, path: StorePath, there: FetchProblem | undefined): Promise<void> {
  const { nix } = job.ops
  const flags = job.request.nix
  const here = await nix.fetch(undefined, path, { ...optionsOf(job), flags }, job.run)
  if (here === undefined) return
  const both = there !== undefined
  throw failure(
    'NOT_FETCHED',
    both
      ? `machine '${job.machine}' cannot fetch ${path} (${kinds[there.kind]}), and this host cannot either (${kinds[here.kind]})`
      : `machine '${job.machine}': this host cannot fetch ${path}: ${kinds[here.kind]}`,
    {
      machine: job.machine,
      hint: hints[there?.kind ?? here.kind],
      detail: both ? `on the machine:\n${there.detail}\non this host:\n${here.detail}` : here.detail,
    },
  )
}
