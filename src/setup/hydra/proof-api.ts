import { failure } from '../../core/errors.js'
import { json, refusal } from '../../core/http-request.js'
import type { Host } from '../../core/ssh.js'
import { pushPath, pushRefusal } from '../../hydra/changes.js'
import { errorTexts } from '../../hydra/read.js'
import { Build, EvaluationPage, Jobset } from '../../hydra/replies.js'
import type { ReadFor } from './journal-lines.js'
import { hydraHome } from './settings.js'
import type { WebSession } from './web-session.js'

/** Name of the proof's project in Hydra. */

export const project = 'hydra-ops-probe'
const jobset = 'probe'

/** Returns the names under which the proof appears in the journal. */
export function proofNames(stamp: string): ReadFor {
  return { derivation: `${project}-${stamp}`, jobset: `${project}:${jobset}` }
}

/** Folder on the machine with the proof's expressions. */
export const folder = `${hydraHome}/hydra-ops-probe`

/**
 * Creates or changes the project. The project is hidden, because `visible` is left out; the start page still shows the
 * project while it is enabled. Hydra reads the mere presence of `enabled` as true, so the request leaves it out for
 * false (all measured).
 */
export async function putProject(
  host: Host,
  session: WebSession,
  owner: string,
  enabled: boolean,
): Promise<void> {
  const body = {
    identifier: project,
    displayname: project,
    description: 'made by hydra-ops to prove that this Hydra builds',
    homepage: '',
    owner,
    ...(enabled ? { enabled } : {}),
  }
  const answer = await session.request('PUT', `/project/${project}`, body)
  if (answer.status !== 200 && answer.status !== 201)
    throw refused(host, `the project ${project}`, refusal(answer))
}

export async function putJobset(
  host: Host,
  session: WebSession,
  stamp: string,
  enabled: boolean,
): Promise<void> {
  const body = {
    description: 'one build',
    nixexprinput: 'src',
    nixexprpath: 'default.nix',
    enabled: enabled ? 1 : 0,
    checkinterval: 0,
    schedulingshares: 100,
    keepnr: 1,
    emailoverride: '',
    inputs: { src: { type: 'path', value: `${folder}/${stamp}` } },
  }
  const answer = await session.request('PUT', `/jobset/${project}/${jobset}`, body)
  if (answer.status !== 200 && answer.status !== 201)
    throw refused(host, `the jobset ${jobset}`, refusal(answer))
}

/** Triggers the evaluation. */
export async function push(host: Host, session: WebSession): Promise<void> {
  const answer = await session.request('POST', pushPath({ project, jobset }))
  const why = pushRefusal(answer, { project, jobset })
  if (why !== undefined) throw refused(host, 'the evaluation', why)
}

function refused(host: Host, what: string, why: string): Error {
  return failure('PROBE', `machine '${host.machine}': Hydra refuses ${what}: ${why}`, {
    machine: host.machine,
  })
}

export async function findBuild(session: WebSession, stamp: string): Promise<Build | undefined> {
  const evaluations = EvaluationPage.safeParse(
    json(await session.request('GET', `/jobset/${project}/${jobset}/evals`)),
  )
  const [newest] = evaluations.data?.evals ?? []
  for (const id of newest?.builds ?? []) {
    const build = Build.safeParse(json(await session.request('GET', `/build/${id}`))).data
    if (build?.nixname === `hydra-ops-probe-${stamp}`) return build
  }
  return undefined
}

/** Returns the time of the jobset's last error; 0 means never. */
export async function errorTime(session: WebSession): Promise<number> {
  const said = Jobset.safeParse(json(await session.request('GET', `/jobset/${project}/${jobset}`))).data
  return said?.errortime ?? 0
}

/**
 * Returns the error of an evaluation that ended after `before`. Older versions report the error with the jobset,
 * newer versions report it on a separate page (measured). All versions keep the error of an earlier evaluation until
 * the next evaluation.
 */
export async function evaluationError(session: WebSession, before: number): Promise<string> {
  if ((await errorTime(session)) === before) return ''
  const pages: Jobset[] = []
  for (const path of [`/jobset/${project}/${jobset}`, `/jobset/${project}/${jobset}/errors`]) {
    const said = Jobset.safeParse(json(await session.request('GET', path))).data
    if (said !== undefined) pages.push(said)
  }
  return errorTexts(pages)
}
