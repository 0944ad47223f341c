import { describe, expect, it } from 'vitest'
import { hydraApi } from '../../src/hydra/api.js'
import { readJob, readJobsetUrl, readPlace } from '../../src/hydra/names.js'
import * as read from '../../src/hydra/read.js'
import { buildState, describeBuild } from '../../src/hydra/replies.js'
import { recordedWay } from './recorded-way.js'

const main = { project: 'morph', jobset: 'main' }
const api = (...chosen: string[]) => hydraApi(recordedWay(...chosen))

async function all<T>(from: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const each of from) found.push(each)
  return found
}

const thrownBy = (promise: Promise<unknown>) =>
  promise.then(
    () => {
      throw new Error('nothing was thrown')
    },
    (error: unknown) => error,
  )

describe('the reader of a recorded Hydra', () => {
  it('lists the evaluations of a jobset, newest first, with the revisions of their inputs', async () => {
    const found = await all(read.evaluationsOf(api('jobset-evals'), main))
    expect(found.map(({ id }) => id)).toEqual([3, 1])
    expect(found[0]?.jobsetevalinputs.network?.revision).toBe('0000000000000000000000000000000000000021')
  })

  it('finds no evaluation in a new jobset', async () => {
    expect(await all(read.evaluationsOf(api('jobset-evals-empty'), main))).toEqual([])
  })

  it('reads the parts of an aggregate with their paths', async () => {
    const parts = await read.constituentsOf(api(), 4)
    expect(parts.map(({ job, buildoutputs }) => [job, buildoutputs.out?.path])).toContainEqual([
      'db',
      '/nix/store/f0c4k8zmn676wgs8dzlc8s1zn2zkfprx-nixos-system-db-23.11.1',
    ])
    expect(await read.constituentsOf(api(), 1)).toEqual([])
  })

  it('follows the redirect from a job of an evaluation to its build', async () => {
    expect(await read.buildIn(api(), 1, 'web')).toMatchObject({ id: 1, job: 'web' })
    expect(await read.buildIn(api(), 1, 'nope')).toBeUndefined()
  })

  it('tells the newest success from the newest one of a finished evaluation', async () => {
    const web = { ...main, job: 'web' }
    const hydra = api('job-latest', 'job-latest-finished')
    expect((await read.latestBuild(hydra, { ...main, job: 'all' }, { whole: true }))?.id).toBe(4)
    expect((await read.latestBuild(hydra, web, { whole: true }))?.id).toBe(1)
  })

  it('takes a restarted build for unfinished, although its old status is still there', async () => {
    const restarted = await read.build(api('build-get-restarted'), 25)
    expect(restarted.buildstatus).toBe(1)
    expect(buildState(restarted)).toBe('waiting')
    expect(describeBuild(restarted)).toBe('not finished')
  })

  it.each([
    [11, 'succeeded'],
    [12, 'failed'],
    [13, 'a dependency failed'],
    [15, 'cancelled'],
    [17, 'timed out'],
    [18, 'no builder for its system or features'],
  ])('describes build %i: %s', async (id, words) => {
    expect(describeBuild(await read.build(api(), id))).toBe(words)
  })

  // The recordings have no build with these results; the numbers are those of Hydra's source.
  it.each([
    [3, 'aborted'],
    [6, 'failed with output'],
    [10, 'log too long'],
    [11, 'output too large'],
    [12, 'not deterministic'],
    [8, 'status 8'],
  ])('describes the result %i of a build: %s', (buildstatus, words) => {
    expect(describeBuild({ finished: 1, buildstatus })).toBe(words)
  })

  it('reads the queue, whose builds lack their derivations', async () => {
    const queue = await read.queue(api('queue'))
    expect(queue.map(({ id }) => id)).toEqual([10, 9, 23])
    expect((await read.running(api())).map(({ id }) => id)).toEqual([9])
  })

  it('reads the error of an evaluation from the only page that has it', async () => {
    const flake = { project: 'morph', jobset: 'flake' }
    expect((await read.jobset(api('jobset-get-with-error'), flake)).errormsg).toBe('')
    expect(await read.evaluationErrors(api(), flake)).toContain("undefined variable 'foo'")
  })

  it('reads all jobsets of a project with the numbers of their jobs', async () => {
    const found = await read.jobsets(api('api-jobsets-full'), 'morph')
    expect(found.find(({ name }) => name === 'main')).toMatchObject({
      nrtotal: 6,
      nrfailed: 2,
      nrscheduled: 2,
    })
  })

  it('reads a queue runner that never started', async () => {
    expect(await read.runnerStatus(api())).toMatchObject({ status: 'unknown', machines: {} })
  })
})

describe('the reader, asked for a thing that Hydra does not have,', () => {
  it('lists the jobsets that the project has', async () => {
    const error = await thrownBy(
      all(read.evaluationsOf(api('project-get-full'), { project: 'morph', jobset: 'nope' })),
    )
    expect(error).toMatchObject({
      message: "Hydra at http://127.0.0.1:3001: project 'morph' has no jobset 'nope'",
      hint: 'there are: flake, main, oneshot',
    })
  })

  it('lists the projects instead, because the answer about a jobset hides a missing project', async () => {
    const error = await thrownBy(read.jobsets(api(), 'nope'))
    expect(error).toMatchObject({
      message: "Hydra at http://127.0.0.1:3001: there is no project 'nope'",
      hint: expect.stringContaining('carols, decl, morph, other'),
    })
  })

  it('names the evaluation or the build', async () => {
    expect(await thrownBy(read.evaluation(api(), 4711))).toMatchObject({
      message: 'Hydra at http://127.0.0.1:3001 has no evaluation 4711',
    })
    expect(await thrownBy(read.build(api(), 4711))).toMatchObject({
      message: 'Hydra at http://127.0.0.1:3001 has no build 4711',
    })
  })

  it('suggests the job that was meant', () => {
    expect(read.noSuchJob(api(), 7, 'relase', ['web', 'release'])).toMatchObject({
      message: "Hydra at http://127.0.0.1:3001: evaluation 7 has no job 'relase'",
      hint: "did you mean 'release'? there are: release, web",
    })
  })
})

describe('the name of a place in Hydra', () => {
  it('is a project, a jobset or a job', () => {
    expect(readPlace('infra')).toEqual({ project: 'infra' })
    expect(readPlace('infra:main')).toEqual({ project: 'infra', jobset: 'main' })
    expect(readPlace('infra:.jobsets')).toEqual({ project: 'infra', jobset: '.jobsets' })
    expect(readJob('infra:main:hosts.web')).toEqual({ project: 'infra', jobset: 'main', job: 'hosts.web' })
  })

  it.each(['', 'a:b:c:d', '9a', 'a/b', 'a:b/../c', 'a b'])('is not %j', (text) => {
    expect(() => readPlace(text)).toThrow(`'${text}' is not a project, jobset or job of Hydra`)
  })

  it('may be an address as the browser shows it, also below a path', () => {
    const found = { url: 'https://ci.example.org/hydra', project: 'infra', jobset: 'main' }
    expect(readJobsetUrl('https://ci.example.org/hydra/job/infra/main')).toEqual(found)
    expect(readJobsetUrl('https://ci.example.org/hydra/jobset/infra/main/')).toEqual(found)
    expect(readJobsetUrl('https://ci.example.org/hydra/job/infra/main/release')).toEqual({
      ...found,
      job: 'release',
    })
  })

  it.each([
    'https://ci.example.org',
    'ci.example.org/job/infra/main',
    'https://ci.example.org/job/infra',
    'ftp://ci.example.org/job/infra/main',
    'https://ci.example.org/job/infra/main?x=1',
  ])('is not an address without both names: %s', (text) => {
    expect(() => readJobsetUrl(text)).toThrow(`'${text}' is not the URL of a jobset`)
  })

  it('never shows the password of an address', () => {
    expect(() => readJobsetUrl('https://alice:hunter2@ci.example.org/job/infra/main')).toThrow(
      "'https://ci.example.org/job/infra/main' is not the URL of a jobset",
    )
  })
})
