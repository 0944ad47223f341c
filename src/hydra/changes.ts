import * as z from 'zod'
import { failure } from '../core/errors.js'
import { type HttpAnswer, json, refusal } from '../core/http-request.js'
import { asked, isRedirect, pathBehind, refusedBy } from './api.js'
import type { JobsetName } from './names.js'
import type { HydraWay } from './way.js'

const Pushed = z.looseObject({ jobsetsTriggered: z.array(z.string()), error: z.string().optional() })

/**
 * Returns the reason why `/api/push` did not trigger the jobset, or undefined. Errors come with status 200, so the list
 * of triggered jobsets decides (measured).
 */
export function pushRefusal(answer: HttpAnswer, { project, jobset }: JobsetName): string | undefined {
  const pushed = Pushed.safeParse(json(answer)).data
  if (pushed?.jobsetsTriggered.includes(`${project}:${jobset}`) === true) return undefined
  return pushed?.error ?? refusal(answer)
}

/** Returns the path that requests an evaluation, even if nothing changed. */
export function pushPath({ project, jobset }: JobsetName): string {
  return `/api/push?jobsets=${project}:${jobset}&force=1`
}

/** Requests an evaluation now. */
export async function evaluateNow(way: HydraWay, jobset: JobsetName): Promise<void> {
  const path = pushPath(jobset)
  const answer = await asked(way, 'POST', path)
  if (answer.status === 403) throw refusedBy(way.url, path, answer)
  const why = pushRefusal(answer, jobset)
  if (why === undefined) return
  throw failure(
    'HYDRA_REFUSED',
    `Hydra at ${way.url} does not evaluate ${jobset.project}:${jobset.jobset}: ${firstLine(why)}`,
    {
      hint: `hydra-ops hydra status ${jobset.project} lists the jobsets; a disabled project is not evaluated`,
    },
  )
}

function firstLine(text: string): string {
  return (text.split('\n', 1)[0] ?? '').slice(0, 300)
}

/** Restarts or cancels a build. Hydra accepts a GET request, and answers with a redirect. */
export async function changeBuild(way: HydraWay, verb: 'restart' | 'cancel', id: number): Promise<void> {
  const path = `/build/${id}/${verb}`
  const answer = await asked(way, 'GET', path)
  // Another program at this URL may also redirect, but not to the page of the build.
  if (isRedirect(answer) && pathBehind(way.url, answer, path) === `/build/${id}`) return
  if (answer.status === 404)
    throw failure('HYDRA_ABSENT', `Hydra at ${way.url} has no build ${id}`, {
      hint: 'hydra-ops hydra status PROJECT:JOBSET shows the builds of the newest evaluation',
    })
  if (answer.status === 500 && answer.body.includes('cannot be')) {
    throw failure('HYDRA_REFUSED', `Hydra at ${way.url} cannot ${verb} build ${id}: ${refusal(answer)}`, {
      hint:
        verb === 'restart'
          ? 'only a finished build whose derivation still exists can be restarted'
          : 'only a build that waits or runs can be cancelled',
    })
  }
  throw refusedBy(way.url, path, answer)
}
