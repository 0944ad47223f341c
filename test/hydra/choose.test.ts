import { describe, expect, it } from 'vitest'
import { OpsError } from '../../src/core/errors.js'
import { hydraApi } from '../../src/hydra/api.js'
import { choose, type Wish } from '../../src/hydra/choose.js'
import { type ModelBuild, type ModelEvaluation, ModelHydra, pathOf } from '../fakes/model-hydra.js'
import { recordedWay } from './recorded-way.js'

const now = new Date('2026-01-10T00:00:00Z')
const day = 86_400
const seconds = now.getTime() / 1000

const plain: Wish = {
  jobset: { project: 'infra', jobset: 'main' },
  gate: 'release',
  which: { kind: 'green' },
  ignoreGate: false,
  maxAge: undefined,
}

/** Creates an evaluation with the gate `release` over `web` and `db`. */
function evaluation(
  id: number,
  gate: Omit<ModelBuild, 'id'>,
  more: Record<string, Omit<ModelBuild, 'id'>> = {},
): ModelEvaluation {
  const jobs = { web: { status: 0 }, db: { status: 0 }, release: { parts: ['web', 'db'], ...gate }, ...more }
  return {
    id,
    timestamp: seconds - (100 - id) * day,
    jobs: Object.fromEntries(
      Object.entries(jobs).map(([name, build], index) => [name, { id: id * 10 + index, ...build }]),
    ),
  }
}

const chosen = (hydra: ModelHydra, wish: Partial<Wish> = {}) =>
  choose(hydraApi(hydra), { ...plain, ...wish }, now)

async function refusal(promise: Promise<unknown>): Promise<OpsError> {
  const error = await promise.catch((thrown: unknown) => thrown)
  if (!(error instanceof OpsError)) throw new Error(`expected a refusal, got ${String(error)}`)
  return error
}

describe('the evaluation to deploy', () => {
  it('is the newest one with a green gate, and the newer ones are named with their reasons', async () => {
    const hydra = new ModelHydra([
      evaluation(99, {}),
      evaluation(98, { status: 2 }),
      evaluation(97, { status: 0 }),
      evaluation(96, { status: 0 }),
    ])
    const choice = await chosen(hydra)
    expect(choice.evaluation?.id).toBe(97)
    expect(choice.passed).toEqual([
      { id: 99, why: 'build 992: not finished' },
      { id: 98, why: 'build 982: a dependency failed' },
    ])
    expect(await choice.result('web', 'web')).toMatchObject({
      path: pathOf('web', 970),
      build: { id: 970 },
      evaluation: { id: 97 },
    })
  })

  it('is found although a stuck build hides it from Hydra’s own latest-finished', async () => {
    const stuck = evaluation(99, { status: 0 }, { arm: {} })
    const hydra = new ModelHydra([stuck, evaluation(98, { status: 0 })])
    expect((await chosen(hydra)).evaluation?.id).toBe(99)
    expect((await chosen(hydra, { which: { kind: 'latest-finished' } })).evaluation?.id).toBe(98)
  })

  it('is found on a later page', async () => {
    const red = Array.from({ length: 45 }, (_, index) => evaluation(99 - index, { status: 1 }))
    const hydra = new ModelHydra([...red, evaluation(40, { status: 0 })])
    const choice = await chosen(hydra)
    expect(choice.evaluation?.id).toBe(40)
    expect(choice.passed).toHaveLength(45)
    expect(hydra.asked.filter((path) => path.includes('/evals'))).toEqual([
      '/jobset/infra/main/evals',
      '/jobset/infra/main/evals?page=2',
      '/jobset/infra/main/evals?page=3',
    ])
  })

  it('does not change when an evaluation is added while the pages are read', async () => {
    const red = Array.from({ length: 25 }, (_, index) => evaluation(90 - index, { status: 1 }))
    const hydra = new ModelHydra(red)
    const first = hydra.evaluations
    const request = hydra.request.bind(hydra)
    hydra.request = async (method, path) => {
      if (path.endsWith('page=2')) hydra.evaluations = [evaluation(91, { status: 0 }), ...first]
      return request(method, path)
    }
    const error = await refusal(chosen(hydra))
    expect(error.message).toContain("has a green gate 'release'")
    expect(hydra.asked.filter((path) => path === '/eval/71/job/release')).toHaveLength(1)
  })

  it('is not an evaluation whose gate was restarted and keeps its old status', async () => {
    const restarted = new ModelHydra([evaluation(99, { status: 0 }), evaluation(98, { status: 0 })])
    restarted.pages.set('/build/992', { body: { id: 992, job: 'release', finished: 0, buildstatus: 0 } })
    expect((await chosen(restarted)).evaluation?.id).toBe(98)
  })

  it('can be named by its number, or by a build', async () => {
    const hydra = new ModelHydra([evaluation(99, { status: 0 }), evaluation(98, { status: 0 })])
    const byEvaluation = await chosen(hydra, { which: { kind: 'evaluation', id: 98 } })
    expect((await byEvaluation.result('db', 'db')).path).toBe(pathOf('db', 981))
    const byBuild = await chosen(hydra, { which: { kind: 'build', id: 982 } })
    expect(byBuild.evaluation?.id).toBe(98)
    expect((await byBuild.result('db', 'db')).path).toBe(pathOf('db', 981))
  })

  it('of a build that is not an aggregate has the result of that build alone', async () => {
    const hydra = new ModelHydra([evaluation(99, { status: 1 })])
    const choice = await chosen(hydra, { which: { kind: 'build', id: 990 } })
    expect((await choice.result('web', 'web')).path).toBe(pathOf('web', 990))
    expect((await refusal(choice.result('db', 'db'))).message).toBe(
      "machine 'db': its job 'db' is not among the jobs of build 990 ('web') of evaluation 99 at http://hydra.example.org",
    )
  })

  it('has the result of a part that Hydra builds again, because its green aggregate proves the result', async () => {
    const again = new ModelHydra([evaluation(99, { status: 0 }, { web: {} })])
    expect((await (await chosen(again)).result('web', 'web')).path).toBe(pathOf('web', 990))
    const unproven = new ModelHydra([evaluation(99, { status: 0, parts: [] }, { web: {} })])
    const choice = await chosen(unproven)
    expect((await refusal(choice.result('web', 'web'))).message).toContain("build 990 ('web'): not finished")
  })

  it('has all its builds when the gate is a test and no aggregate', async () => {
    const hydra = new ModelHydra([evaluation(99, { status: 0, parts: [] })])
    expect((await (await chosen(hydra)).result('db', 'db')).path).toBe(pathOf('db', 991))
  })

  it('is not one for all machines when each takes its own newest success', async () => {
    const hydra = new ModelHydra([
      evaluation(99, { status: 2 }, { web: { status: 1 } }),
      evaluation(98, { status: 1 }),
    ])
    const choice = await chosen(hydra, { which: { kind: 'latest' } })
    expect(choice.evaluation).toBeUndefined()
    expect((await choice.result('web', 'web')).evaluation.id).toBe(98)
    expect((await choice.result('db', 'db')).evaluation.id).toBe(99)
    expect((await refusal(choice.result('mail', 'mail'))).message).toBe(
      "machine 'mail': job 'mail' of infra:main at http://hydra.example.org has never succeeded",
    )
  })

  it('is the one that a real Hydra’s recording shows', async () => {
    const way = recordedWay('jobset-evals', 'project-get-full')
    const wish = { ...plain, jobset: { project: 'morph', jobset: 'main' }, gate: 'all' }
    // The newer evaluation of the recording has an unfinished gate, whose redirect was not recorded.
    const request = async (method: string, path: string) =>
      path === '/eval/3/job/all' || path === '/eval/1/job/all'
        ? way.request(method, '/eval/1/job/web').then((answer) => ({
            ...answer,
            headers: { location: `${way.url}/build/${path.startsWith('/eval/3') ? 10 : 4}` },
          }))
        : way.request(method, path)
    const choice = await choose(hydraApi({ url: way.url, request }), wish, now)
    expect(choice.passed).toEqual([{ id: 3, why: 'build 10: not finished' }])
    expect((await choice.result('db', 'db')).path).toBe(
      '/nix/store/f0c4k8zmn676wgs8dzlc8s1zn2zkfprx-nixos-system-db-23.11.1',
    )
  })
})

describe('a wish is refused', () => {
  it('when no evaluation has a green gate, with the newest reasons and the ways around', async () => {
    const error = await refusal(chosen(new ModelHydra([evaluation(99, {}), evaluation(98, { status: 1 })])))
    expect(error.message).toBe(
      "Hydra at http://hydra.example.org: no evaluation of infra:main has a green gate 'release'",
    )
    expect(error.hint).toContain('--ignore-gate')
    expect(error.detail).toBe(
      'http://hydra.example.org/eval/99: build 992: not finished\nhttp://hydra.example.org/eval/98: build 982: failed',
    )
  })

  it('when the jobset was never evaluated', async () => {
    expect((await refusal(chosen(new ModelHydra([])))).message).toBe(
      'Hydra at http://hydra.example.org: jobset infra:main has no evaluation yet',
    )
  })

  it('when the gate is not a job of the newest evaluation, with the jobs that are', async () => {
    const error = await refusal(chosen(new ModelHydra([evaluation(99, { status: 0 })]), { gate: 'relase' }))
    expect(error.message).toBe("Hydra at http://hydra.example.org: evaluation 99 has no job 'relase'")
    expect(error.hint).toBe("did you mean 'release'? there are: db, release, web")
  })

  it('when the named evaluation has a red gate, unless the gate is to be ignored', async () => {
    const hydra = new ModelHydra([evaluation(99, { status: 2 }, { db: { status: 1 } })])
    const which = { kind: 'evaluation', id: 99 } as const
    const error = await refusal(chosen(hydra, { which }))
    expect(error.message).toBe(
      "Hydra at http://hydra.example.org: the gate is not green: build 992 of 'release': a dependency failed",
    )
    const ignored = await chosen(hydra, { which, ignoreGate: true })
    expect((await ignored.result('web', 'web')).path).toBe(pathOf('web', 990))
    expect((await refusal(ignored.result('db', 'db'))).message).toBe(
      "machine 'db': Hydra at http://hydra.example.org has no result of build 991 ('db'): failed",
    )
  })

  it('when the named build is red or unfinished', async () => {
    const hydra = new ModelHydra([evaluation(99, {})])
    expect((await refusal(chosen(hydra, { which: { kind: 'build', id: 992 } }))).message).toContain(
      "build 992 of 'release': not finished",
    )
  })

  it('when Hydra has forgotten all evaluations of the named build', async () => {
    const hydra = new ModelHydra([evaluation(99, { status: 0 })])
    const { body } = await hydra.request('GET', '/build/990')
    hydra.pages.set('/build/990', { body: { ...JSON.parse(body), jobsetevals: [] } })
    const error = await refusal(chosen(hydra, { which: { kind: 'build', id: 990 } }))
    expect(error.message).toBe(
      'Hydra at http://hydra.example.org: build 990 no longer belongs to an evaluation',
    )
    expect(error.hint).toContain('choose a newer build')
    expect(hydra.asked).not.toContain('/eval/-Infinity')
  })

  it('when the evaluation belongs to another jobset', async () => {
    const hydra = new ModelHydra([evaluation(99, { status: 0 })])
    hydra.pages.set('/build/990', { body: { id: 990, project: 'infra', jobset: 'staging', finished: 1 } })
    const error = await refusal(chosen(hydra, { which: { kind: 'evaluation', id: 99 } }))
    expect(error.message).toContain('evaluation 99 belongs to the jobset infra:staging, not to infra:main')
    expect(error.hint).toBe('--from-hydra http://hydra.example.org/job/infra/staging chooses that jobset')
  })

  it('when the evaluation is older than allowed, and the walk ends there', async () => {
    const green = new ModelHydra([evaluation(95, { status: 0 })])
    expect((await refusal(chosen(green, { maxAge: 2 * day }))).message).toBe(
      'Hydra at http://hydra.example.org: evaluation 95 is 5 days old, older than --max-age allows',
    )
    expect((await chosen(green, { maxAge: 6 * day })).evaluation?.id).toBe(95)
    const hydra = new ModelHydra([evaluation(99, { status: 1 }), evaluation(95, { status: 0 })])
    expect((await refusal(chosen(hydra, { maxAge: 2 * day }))).message).toContain(
      'young enough for --max-age',
    )
    expect(hydra.asked).not.toContain('/eval/95/job/release')
  })

  it('when the newest success of a machine is too old', async () => {
    const choice = await chosen(new ModelHydra([evaluation(90, { status: 0 })]), {
      which: { kind: 'latest' },
      maxAge: day,
    })
    expect((await refusal(choice.result('web', 'web'))).code).toBe('HYDRA_OLD')
  })

  it('when a machine is not among the jobs, with all jobs and the nearest name', async () => {
    const choice = await chosen(new ModelHydra([evaluation(99, { status: 0 })]))
    const error = await refusal(choice.result('webb', 'webb'))
    expect(error.message).toBe(
      "machine 'webb': its job 'webb' is not among the jobs of build 992 ('release') of evaluation 99 at http://hydra.example.org",
    )
    expect(error.hint).toContain("did you mean 'web'? these are: db, web")
  })

  it('when the result has no output path yet', async () => {
    const hydra = new ModelHydra([evaluation(99, { status: 0 }, { web: { status: 0, path: null } })])
    const choice = await chosen(hydra)
    expect((await refusal(choice.result('web', 'web'))).message).toContain("has no output 'out'")
  })

  it('when Hydra has removed the evaluation meanwhile', async () => {
    const hydra = new ModelHydra([evaluation(99, { status: 0 })])
    expect((await refusal(chosen(hydra, { which: { kind: 'evaluation', id: 7 } }))).message).toBe(
      'Hydra at http://hydra.example.org has no evaluation 7',
    )
  })
})
