import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DeploymentName } from '../../src/core/names.js'
import { createFakeOps, type FakeOps } from '../fakes/fake-ops.js'
import type { ModelEvaluation } from '../fakes/model-hydra.js'
import { type ServedHydra, serveHydra } from '../fakes/served-hydra.js'
import { stateHash } from '../fixtures/state-hash.js'
import { type CliRun, runCli } from './run-cli.js'

let ops: FakeOps
let hydra: ServedHydra

const nowSeconds = () => Math.floor(ops.now().getTime() / 1000)

function evaluation(id: number, gate: number): ModelEvaluation {
  return {
    id,
    timestamp: nowSeconds() - (100 - id) * 86_400,
    revision: 'b'.repeat(40),
    jobs: {
      web: { id: id * 10, status: gate === 0 ? 0 : 1 },
      db: { id: id * 10 + 1, status: 0 },
      release: { id: id * 10 + 2, parts: ['web', 'db'], status: gate },
    },
  }
}

const row = {
  name: 'main',
  project: 'infra',
  nrsucceeded: 1,
  nrfailed: 2,
  nrscheduled: 0,
  nrtotal: 3,
  errortime: null,
  fetcherrormsg: null,
  triggertime: null,
  starttime: null,
}

/** Row of the jobset of a declarative project whose jobsets stand in a file. */
const declarative = { ...row, name: '.jobsets', nrsucceeded: 0, nrfailed: 0, nrtotal: 0 }

const metrics = (failed: number, age: number) =>
  `hydra_job_completion_time{job="release"} ${nowSeconds() - age}\nhydra_job_failed{job="release"} ${failed}\n`

beforeEach(async () => {
  ops = await createFakeOps()
  hydra = await serveHydra([evaluation(99, 2), evaluation(98, 0)])
  page('/queue-runner-status', { status: 'up', nrRunnableSteps: 0, nrActiveSteps: 0 })
  page('/queue', [])
  page('/status', [])
  page('/api/jobsets?project=infra', [{ ...row, lastcheckedtime: nowSeconds() - 60 }])
  page('/jobset/infra/main/errors', { errormsg: '', fetcherrormsg: '' })
  page('/api/latestbuilds?nr=1&project=infra&jobset=main&job=release', [
    { id: 982, job: 'release', finished: 1, buildstatus: 0 },
  ])
  text('/job/infra/main/release/prometheus', metrics(0, 3_600))
})
afterEach(async () => {
  await hydra.close()
  ops.cleanup()
})

function page(path: string, body: unknown): void {
  hydra.model.pages.set(path, { body })
}

function text(path: string, body: string): void {
  hydra.model.pages.set(path, { body, text: true })
}

/** Serves a queue with one waiting build that requires the feature; `running` counts the builds that run. */
function waitingBuild(feature: string, running: number): void {
  page('/queue', [{ id: 7, project: 'infra', jobset: 'main', job: 'web', finished: 0 }])
  page('/queue-runner-status', {
    status: 'up',
    nrRunnableSteps: 1,
    nrActiveSteps: running,
    machineTypes: { [`x86_64-linux:${feature}`]: { runnable: 1 } },
    machines: { localhost: { systemTypes: ['x86_64-linux'], supportedFeatures: ['kvm'] } },
  })
}

const run = (...argv: string[]): Promise<CliRun> =>
  runCli(['hydra', ...argv, '--url', hydra.model.url], { ops })

describe('hydra status', () => {
  it('shows the queue and all jobsets of a URL, and writes nothing to the state', async () => {
    await ops.store.create({
      name: DeploymentName.parse('net'),
      expressions: ['/net.nix'],
      searchPath: [],
      args: {},
    })
    const before = stateHash(ops.files.root)
    const { code, stdout, stderr } = await run('status')
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain('queue idle: 0 builds unfinished, 0 running')
    expect(stdout).toMatch(/infra:main +1 succeeded +2 failed +0 unfinished +evaluated 1 minute ago/)
    expect(stateHash(ops.files.root)).toBe(before)
  })

  it('shows the newest evaluation of a jobset, its red gate, its failed builds, and the last green gate', async () => {
    const { stdout } = await run('status', 'infra:main')
    expect(stdout).toContain('newest evaluation 99 (1 day ago), network bbbbbbbbbbbb')
    expect(stdout).toContain('gate infra:main:release: a dependency failed (build 992)')
    expect(stdout).toContain('last green gate: evaluation 98 (2 days ago)')
    expect(stdout).toMatch(/990 +infra:main:web +failed/)
  })

  it('shows the whole error of an evaluation', async () => {
    page('/api/jobsets?project=infra', [{ ...row, errortime: 1, lastcheckedtime: 1 }])
    page('/jobset/infra/main/errors', { errormsg: "in job ‘web’:\nerror: undefined variable 'foo'" })
    expect((await run('status', 'infra:main')).stdout).toContain("error: undefined variable 'foo'")
  })

  it('shows the error of a Hydra of 2022, which has the text on the page of the jobset', async () => {
    page('/api/jobsets?project=infra', [{ ...row, errortime: 1, lastcheckedtime: 1 }])
    hydra.model.pages.set('/jobset/infra/main/errors', { status: 404, body: { error: 'Page not found.' } })
    page('/jobset/infra/main', { name: 'main', enabled: 1, errormsg: 'error: infinite recursion' })
    expect((await run('status')).stdout).toContain('error: infinite recursion')
  })

  it('says so when Hydra keeps an error of a declarative project that later checks did not find', async () => {
    page('/jobset/infra/.jobsets/errors', { errormsg: 'cannot read the list' })
    page('/api/jobsets?project=infra', [{ ...declarative, errortime: 1_000, lastcheckedtime: 5_000 }])
    const kept = 'cannot read the list (later checks found no error; Hydra keeps the old one)'
    expect((await run('status')).stdout).toContain(kept)
    page('/api/jobsets?project=infra', [{ ...declarative, errortime: 5_000, lastcheckedtime: 5_000 }])
    const present = (await run('status')).stdout
    expect(present).toContain('cannot read the list')
    expect(present).not.toContain('later checks')
  })

  it('reports a stuck queue with its cause and the line that fixes it', async () => {
    waitingBuild('quantum', 0)
    const { stdout } = await run('status')
    expect(stdout).toContain('queue stuck: 1 builds unfinished')
    expect(stdout).toContain(
      'no builder of x86_64-linux offers the feature quantum (x86_64-linux:quantum): 1 waiting\n  add quantum to supportedFeatures',
    )
  })

  it('shows the newest builds of one job', async () => {
    page('/api/latestbuilds?nr=10&project=infra&jobset=main&job=web', [
      {
        id: 990,
        project: 'infra',
        jobset: 'main',
        job: 'web',
        finished: 1,
        buildstatus: 1,
        stoptime: nowSeconds(),
      },
    ])
    expect((await run('status', 'infra:main:web')).stdout).toMatch(
      /990 +infra:main:web +failed +0 seconds ago/,
    )
  })

  it('prints JSON', async () => {
    const { stdout } = await run('status', 'infra:main', '--json')
    expect(JSON.parse(stdout)).toMatchObject({
      queue: { kind: 'idle' },
      jobsets: [{ jobset: 'main', failed: 2, detail: { lastGreen: { id: 98 }, gate: { id: 992 } } }],
    })
  })

  it('looks again with --watch until the user ends it', async () => {
    const cancel = new AbortController()
    const request = hydra.model.request.bind(hydra.model)
    let looks = 0
    hydra.model.request = async (method, path) => {
      if (path === '/queue') looks += 1
      if (looks === 2) cancel.abort()
      return request(method, path)
    }
    const argv = ['hydra', 'status', '--watch', '--every', '1', '--url', hydra.model.url]
    const watching = { ...ops, signal: cancel.signal }
    const { code, stdout } = await runCli(argv, { ops: watching, signal: cancel.signal })
    expect(code).toBe(130)
    expect(stdout.match(/queue idle/g)).toHaveLength(1)
  })

  it('names the projects and jobsets that exist', async () => {
    const { code, stderr } = await run('status', 'infra:mian')
    expect([code, stderr]).toEqual([
      1,
      `error: Hydra at ${hydra.model.url}: project 'infra' has no jobset 'mian'\nhint: did you mean 'main'? there are: main\n`,
    ])
  })

  it('asks for a URL if the deployment knows no Hydra', async () => {
    await ops.store.create({
      name: DeploymentName.parse('net'),
      expressions: ['/net.nix'],
      searchPath: [],
      args: {},
    })
    const { code, stderr } = await runCli(['hydra', 'status'], { ops })
    expect(code).toBe(2)
    expect(stderr).toContain('the deployment knows no Hydra\nhint: name one: --url')
  })

  it('never takes a password in a URL', async () => {
    const { code, stderr } = await runCli(
      ['hydra', 'status', '--url', 'http://alice:hunter2@ci.example.org'],
      { ops },
    )
    expect(code).toBe(2)
    expect(stderr).toContain(
      '--url: expected a URL such as https://hydra.example.org, without user and password',
    )
    expect(stderr).not.toContain('hunter2')
  })
})

describe('hydra log', () => {
  it('prints the log of a build, without sequences that would change the terminal', async () => {
    text('/build/990/log/raw', '\u001b[31mbuilding\u001b[0m\nerror: no rule\n')
    expect(await run('log', '990')).toEqual({ code: 0, stdout: 'building\nerror: no rule\n', stderr: '' })
  })

  it('says that a build has no log, or that there is no such build', async () => {
    hydra.model.pages.set('/build/990/log/raw', { status: 404, body: { error: 'Build has no log.' } })
    hydra.model.pages.set('/build/4/log/raw', { status: 404, body: { error: 'gone' } })
    expect((await run('log', '990')).stderr).toMatch(
      /build 990 at http:\S+ has no log \(.*\)\nhint: a build that was fetched from a cache has no log/,
    )
    expect((await run('log', '4')).stderr).toContain('has no build 4')
    expect((await run('log', 'x')).code).toBe(2)
  })
})

describe('hydra check', () => {
  const problems = async (...flags: string[]) => {
    const { code, stdout } = await run('check', 'infra:main', '--json', ...flags)
    const { ok, problems: found }: { ok: boolean; problems: string[] } = JSON.parse(stdout)
    expect(code).toBe(ok ? 0 : 1)
    return found
  }

  it('ends with 0 if all is well', async () => {
    expect(await run('check', 'infra:main', '--max-age', '2h')).toEqual({
      code: 0,
      stdout: 'infra:main: all is well\n',
      stderr: '',
    })
  })

  it('reports a failed gate, a stale one, and one that never finished', async () => {
    text('/job/infra/main/release/prometheus', metrics(1, 60))
    expect(await problems()).toEqual([`infra:main:release failed: ${hydra.model.url}/build/982`])
    text('/job/infra/main/release/prometheus', metrics(0, 3 * 86_400))
    expect(await problems('--max-age', '2d')).toEqual([
      'infra:main:release: the last success is 3 days old, older than --max-age allows',
    ])
    page('/api/latestbuilds?nr=1&project=infra&jobset=main&job=release', [])
    expect(await problems()).toEqual(['infra:main:release has never finished'])
    expect(await problems('--gate', 'nope')).toEqual([
      "infra:main: the newest evaluation has no job 'nope' (it has: db, release, web)",
    ])
  })

  it('reports an evaluator that is stuck, but not one of a disabled jobset', async () => {
    page('/api/jobsets?project=infra', [{ ...row, starttime: nowSeconds() - 7_200 }])
    expect(await problems()).toEqual([
      expect.stringMatching(/^infra:main: the evaluation has been running for 2 hours;/),
    ])
    expect(await problems('--stuck-after', '3h')).toEqual([])
    page('/api/jobsets?project=infra', [{ ...row, triggertime: nowSeconds() - 7_200 }])
    expect(await problems()).toEqual([
      expect.stringMatching(/^infra:main: the evaluation has been waiting for 2 hours;/),
    ])
    page('/jobset/infra/main', { name: 'main', enabled: 0 })
    expect(await problems()).toEqual([])
  })

  it('reports a queue runner that is down, and an evaluation that failed', async () => {
    page('/queue-runner-status', { status: 'down' })
    page('/api/jobsets?project=infra', [{ ...row, errortime: 5 }])
    page('/jobset/infra/main/errors', { errormsg: 'error: infinite recursion\nat x' })
    expect(await problems()).toEqual([
      expect.stringContaining('queue: the queue runner is not running'),
      'infra:main: the last evaluation failed: error: infinite recursion',
    ])
  })

  it('reports a job about which Hydra has no figures', async () => {
    text('/job/infra/main/release/prometheus', '')
    expect(await problems()).toEqual(['infra:main:release: Hydra has no figures about the job'])
  })

  it('reports a stuck queue with its cause and remedy, and no queue that is only busy', async () => {
    waitingBuild('quantum', 0)
    expect(await problems()).toEqual([
      expect.stringContaining(
        'queue: no builder of x86_64-linux offers the feature quantum (1 waiting); add quantum to supportedFeatures',
      ),
    ])
    waitingBuild('kvm', 1)
    expect(await problems()).toEqual([])
  })

  it('finds no gate missing in the jobset that makes the others, and reports only its present error', async () => {
    page('/jobset/infra/.jobsets', { name: '.jobsets', enabled: 1 })
    page('/jobset/infra/.jobsets/errors', { errormsg: 'cannot read the list' })
    const main = { ...row, lastcheckedtime: nowSeconds() - 60 }
    const check = async (errortime: number) => {
      page('/api/jobsets?project=infra', [main, { ...declarative, errortime, lastcheckedtime: 5_000 }])
      return (await run('check', 'infra')).stdout
    }
    expect(await check(1_000)).toBe('infra: all is well\n')
    expect(await check(5_000)).toContain('infra:.jobsets: the last evaluation failed: cannot read the list')
  })

  it('ends with 1 and one sentence when Hydra is down', async () => {
    const { url } = hydra.model
    await hydra.close()
    const { code, stdout, stderr } = await runCli(['hydra', 'check', 'infra', '--url', url], { ops })
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain(`error: Hydra at ${url} does not answer`)
  })
})

it('hydra prometheus prints an entry for each job of the newest evaluation', async () => {
  const { stdout } = await run('prometheus', 'infra:main')
  expect(stdout.match(/metrics_path: .*/g)).toEqual([
    "metrics_path: '/prometheus'",
    "metrics_path: '/job/infra/main/db/prometheus'",
    "metrics_path: '/job/infra/main/release/prometheus'",
    "metrics_path: '/job/infra/main/web/prometheus'",
  ])
})
