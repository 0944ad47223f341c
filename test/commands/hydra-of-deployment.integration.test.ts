import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { MachineRecord } from '../../src/core/deployment.js'
import { MachineName, StorePath } from '../../src/core/names.js'
import { FakeHydraWeb } from '../fakes/fake-hydra-web.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { pathOf } from '../fakes/model-hydra.js'
import { type ServedHydra, serveHydra } from '../fakes/served-hydra.js'
import { stateHash } from '../fixtures/state-hash.js'
import { runCli } from './run-cli.js'

let ops: FakeOps
let hydra: ServedHydra
let web: FakeHydraWeb
let webUrl: string

beforeEach(async () => {
  ops = await createFakeOps()
  await rememberNetwork(ops)
  const timestamp = Math.floor(ops.now().getTime() / 1000) - 60
  hydra = await serveHydra([{ id: 99, timestamp, jobs: { release: { id: 990, status: 0 } } }])
  const job = { project: 'infra', jobset: 'main', job: 'release' }
  const pages: Readonly<Record<string, unknown>> = {
    '/queue-runner-status': { status: 'up', nrRunnableSteps: 0, nrActiveSteps: 0 },
    '/queue': [],
    '/status': [],
    '/api/jobsets?project=infra': [
      {
        ...{ name: 'main', project: 'infra', nrsucceeded: 1, nrfailed: 0, nrscheduled: 0, nrtotal: 1 },
        ...{ errortime: null, fetcherrormsg: null, triggertime: null, starttime: null },
        lastcheckedtime: timestamp,
      },
    ],
    '/api/latestbuilds?nr=1&project=infra&jobset=main&job=release': [
      { ...job, id: 990, finished: 1, buildstatus: 0 },
    ],
  }
  for (const [path, body] of Object.entries(pages)) hydra.model.pages.set(path, { body })
  hydra.model.pages.set('/build/990/log/raw', { body: 'done\n', text: true })
  hydra.model.pages.set('/job/infra/main/release/prometheus', {
    body: `hydra_job_completion_time{job="release"} ${timestamp}\nhydra_job_failed{job="release"} 0\n`,
    text: true,
  })
  web = new FakeHydraWeb()
  webUrl = `http://127.0.0.1:${await web.listen()}`
  web.users.set('alice', { password: 'right', roles: ['admin'] })
  web.jobsets.set('/jobset/infra/main', {})
  web.builds.add(7)
})
afterEach(async () => {
  await Promise.all([hydra.close(), web.close()])
  ops.cleanup()
})

/** Adds a machine that runs a Hydra at the URL. */
const withHydra = (name: string, url: string) =>
  addMachine(name, {
    tasks: { hydra: { inputs: 'none', outputs: { url }, at: ops.now().toISOString() } },
  })

/** Adds a machine whose system a Hydra at the URL has built. */
const builtBy = (name: string, url: string) =>
  addMachine(name, {
    deployed: {
      ...{
        path: StorePath.parse(pathOf(name, 1)),
        at: ops.now().toISOString(),
        run: 'r',
        files: {},
        units: {},
      },
      hydra: { url, project: 'infra', jobset: 'main', evaluation: 99, build: 990, job: name, inputs: {} },
    },
  })

async function addMachine(name: string, more: Partial<MachineRecord>): Promise<void> {
  const { uuid } = await ops.store.resolve('net')
  await ops.store.lock(uuid, (held) =>
    held.putMachine(MachineName.parse(name), {
      ...{ provider: 'fake', os: 'debian', index: 1, obsolete: false, tasks: {}, keys: {}, facts: {} },
      allocation: { sshPort: 1, ports: [], address: '192.0.2.1' },
      ...more,
    }),
  )
}

const run = (...argv: string[]) => runCli(['hydra', ...argv, '-d', 'net'], { ops })

describe('the Hydra of a deployment', () => {
  it('is the one that a machine of the deployment runs, even if another one built the systems', async () => {
    await withHydra('ci', hydra.model.url)
    await builtBy('web', 'http://127.0.0.1:1')
    const { code, stdout, stderr } = await run('status')
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain('queue idle')
  })

  it('is the one that built the systems if no machine runs a Hydra', async () => {
    await builtBy('web', hydra.model.url)
    await builtBy('db', hydra.model.url)
    const { code, stdout, stderr } = await run('status')
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain('queue idle')
  })

  it('must be named if there are two, and the hint names both', async () => {
    await withHydra('ci', hydra.model.url)
    await withHydra('ci2', 'http://other.example.org')
    const { code, stderr } = await run('status')
    expect([code, stderr]).toEqual([
      2,
      `error: there is more than one Hydra\nhint: choose one: --url ${hydra.model.url} or --url http://other.example.org\n`,
    ])
    expect(hydra.model.asked).toEqual([])
  })
})

describe('the state of a deployment stays the same', () => {
  it.each([
    ['log', '990'],
    ['check', 'infra:main'],
    ['prometheus', 'infra:main'],
  ])('while the Hydra is asked by hydra %s', async (...argv) => {
    await withHydra('ci', hydra.model.url)
    const before = stateHash(ops.files.root)
    expect((await run(...argv)).code).toBe(0)
    expect(hydra.model.asked).not.toEqual([])
    expect(stateHash(ops.files.root)).toBe(before)
  })

  it.each([
    ['eval', 'infra:main'],
    ['restart', '7'],
    ['cancel', '7'],
  ])('while the Hydra is changed by hydra %s', async (...argv) => {
    await withHydra('ci', webUrl)
    const file = join(ops.folder, 'alice.password')
    writeFileSync(file, 'right\n', { mode: 0o600 })
    const before = stateHash(ops.files.root)
    const { code, stderr } = await run(...argv, '--user', 'alice', '--password-file', file)
    expect([code, stderr]).toEqual([0, expect.not.stringContaining('error')])
    expect(web.requests).toHaveLength(2)
    expect(stateHash(ops.files.root)).toBe(before)
  })
})
