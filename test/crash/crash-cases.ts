import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import pLimit from 'p-limit'
import { z } from 'zod'
import type { DeploymentStore } from '../../src/core/store.js'
import { storeWrite } from './crash-points.js'
import type { KillableScript } from './killed-process.js'
import type { Verb } from './machine-operator.js'

/** A verb with its most fault-prone points, and the plan that remains after the complete verb. */
export interface CrashCase {
  readonly verb: Verb
  readonly telling: readonly string[]
  /** Whether everyday use depends on the verb, which is then stopped at more points. */
  readonly everyday: boolean
  readonly toDo: readonly string[]
}

export interface CrashTrial<Place, Outcome> {
  /** Prepares a place for the verb: a new place, or a place with a deployed machine. */
  beginning(verb: Verb): Promise<Place>
  /** Runs the verb in a process that kills itself at the n-th point. If n is 0, returns all points. */
  crash(place: Place, verb: Verb, nth: number): Promise<'killed' | string[]>
  /** Runs the verb again, and returns the outcome. */
  judge(place: Place, verb: Verb): Promise<Outcome>
  /** The number of processes that run at once. */
  readonly parallel: number
}

/** Runs the verb in a process that kills itself at the n-th point. If n is 0, returns all points. */
export async function crashAt(
  script: KillableScript,
  place: object,
  verb: Verb,
  nth: number,
): Promise<'killed' | string[]> {
  const end = await script.run([JSON.stringify(place), verb, String(nth)])
  return end === 'killed' ? end : z.array(z.string()).parse(JSON.parse(end))
}

const { HYDRA_OPS_CRASH_POINTS: chosen } = process.env

/** Whether the environment selects further points: all points, or the points with a text in their names. */
export const morePoints = chosen !== undefined

function isChosen(at: string): boolean {
  return chosen !== undefined && (chosen === 'all' || at.includes(chosen))
}

/** Says whether the case or the environment chooses a point, or a store write is beside another change. */
function isWanted(points: readonly string[], index: number, { telling, everyday }: CrashCase): boolean {
  const [before, at = '', after] = [points[index - 1], points[index], points[index + 1]]
  if (isChosen(at) || telling.includes(at)) return true
  // A store write of an everyday verb is tested if it is beside a change outside the store.
  return everyday && at === storeWrite && [before, after].some((next) => next !== undefined && next !== at)
}

/** Stops the verb at each wanted point, and runs the verb again. Returns the outcome after each point. */
export async function afterEachPoint<Place, Outcome>(
  { beginning, crash, judge, parallel }: CrashTrial<Place, Outcome>,
  wanted: CrashCase,
) {
  const { verb } = wanted
  const whole = await beginning(verb)
  const points = await crash(whole, verb, 0)
  if (points === 'killed') throw new Error('a run that was not told to stop was killed')
  const normal = await judge(whole, verb)
  const limit = pLimit(parallel)
  const crashed = points.flatMap((at, index) =>
    isWanted(points, index, wanted)
      ? limit(async () => {
          const place = await beginning(verb)
          const first = await crash(place, verb, index + 1)
          // Store writes are sometimes merged, so a run may have one or two points fewer than the first
          // run.
          if (first !== 'killed' && at === storeWrite && first.length <= index) return []
          const outcome = await judge(place, verb).catch((error: unknown) => String(error))
          return [{ at: `${index + 1}: ${at}`, first, outcome }]
        })
      : [],
  )
  return { normal, crashed: (await Promise.all(crashed)).flat() }
}

/** Returns the content of the state, and the files of machines; `UUID` replaces the UUID of each deployment. */
export async function deploymentsIn(folder: string, store: Pick<DeploymentStore, 'list'>) {
  const records = await store.list()
  const uuids = records.map(({ uuid }) => uuid)
  const ours = (lines: readonly string[]) =>
    lines
      .filter((line) => uuids.some((uuid) => line.includes(uuid)))
      .map((line) => uuids.reduce((text: string, uuid) => text.replaceAll(uuid, 'UUID'), line))
      .sort()
  const deployments = join(folder, 'state', 'deployments')
  return {
    uuids,
    ours,
    files: ours(readdirSync(deployments, { recursive: true, encoding: 'utf8' })).filter((path) =>
      /\/(?:disks|console)(?:\/|$)/.test(path),
    ),
    machines: records.map(({ machines }) =>
      Object.entries(machines).map(([name, { intent, handle }]) => [name, intent, handle !== undefined]),
    ),
  }
}
