import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createNixCommand } from '../../nix/nix-command.js'
import { createSubstituter } from '../../nix/substitute.js'
import { OpsError } from '../../src/core/errors.js'
import { StorePath } from '../../src/core/names.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { hydraApi } from '../../src/hydra/api.js'
import { changeBuild, evaluateNow } from '../../src/hydra/changes.js'
import { choose, type Wish } from '../../src/hydra/choose.js'
import { judgeQueue } from '../../src/hydra/queue-state.js'
import * as read from '../../src/hydra/read.js'
import { describeBuild } from '../../src/hydra/replies.js'
import { HydraSession } from '../../src/hydra/session.js'
import { senderFromOperator, wayFromOperator } from '../../src/hydra/way.js'
import { freePort } from '../fixtures/free-port.js'
import { type PrivatePostgres, startPostgres } from './private-postgres.js'
import { type Daemon, StandIns } from './stand-in-packages.js'

const standIns = new StandIns()
const cache = join(standIns.nix.folder, 'cache')
const secret = join(standIns.nix.folder, 'secret')
const source = join(standIns.nix.folder, 'source')
const main = { project: 'infra', jobset: 'main' }
const { run } = standIns.nix
const plain: Wish = {
  jobset: main,
  gate: 'release',
  which: { kind: 'green' },
  ignoreGate: false,
  maxAge: undefined,
}

let postgres: PrivatePostgres | undefined
let url = ''
let session: HydraSession
let runner: Daemon
let evaluator: Daemon

/** Returns the expression of a jobset: two machines, their gate, and a job that no builder takes. */
function jobs(web: string): string {
  return `{ src }:
    let job = attributes: derivation ({ system = "x86_64-linux"; builder = "/bin/sh"; } // attributes); in
    rec {
      web = job { name = "web"; args = [ "-c" ${JSON.stringify(web)} ]; };
      db = job { name = "db"; args = [ "-c" "echo db > $out" ]; };
      release = job { name = "release"; _hydraAggregate = true; constituents = [ web db ]; args = [ "-c" "echo \${web} \${db} > $out" ]; };
      stuck = job { name = "stuck"; requiredSystemFeatures = [ "quantum" ]; args = [ "-c" "echo > $out" ]; };
    }`
}

const api = () => hydraApi(wayFromOperator(url, { signal: run.signal, log: () => {} }))
const chosen = (wish: Partial<Wish> = {}) => choose(api(), { ...plain, ...wish }, new Date())

async function evaluations(): Promise<number[]> {
  const ids: number[] = []
  for await (const { id } of read.evaluationsOf(api(), main)) ids.push(id)
  return ids
}

/** Requests an evaluation of this expression, and waits until its gate is finished. */
async function push(web: string): Promise<number> {
  const before = await evaluations()
  // Hydra reads the same folder again only after half a minute.
  const folder = `${source}-${before.length}`
  mkdirSync(folder)
  writeFileSync(join(folder, 'release.nix'), jobs(web))
  const inputs = { src: { type: 'path', value: folder } }
  const jobset = { nixexprinput: 'src', nixexprpath: 'release.nix', enabled: 1, checkinterval: 0, inputs }
  await session.request('PUT', '/jobset/infra/main', jobset)
  await evaluateNow(session, main)
  await evaluator.until('there is a new evaluation', async () => (await evaluations()).length > before.length)
  const [id = 0] = await evaluations()
  await runner.until(
    'the gate is finished',
    async () => (await read.buildIn(api(), id, 'release'))?.finished === 1,
  )
  return id
}

beforeAll(async () => {
  const database = startPostgres()
  postgres = database
  await standIns.build('hydra')
  await standIns.nix.nix('nix-store', ['--generate-binary-cache-key', 'ci-1', secret, `${secret}.pub`])
  writeFileSync(
    join(standIns.data, 'hydra.conf'),
    `using_frontend_proxy = 1\ngc_roots_dir = ${standIns.data}/gcroots\nstore_uri = file://${cache}?secret-key=${secret}\nqueue_runner_metrics_address = 127.0.0.1:0\nmax_unsupported_time = 6000\n`,
  )
  mkdirSync(source)
  const env = await standIns.env({ ...database.env, HYDRA_DBI: 'dbi:Pg:dbname=hydra;user=hydra;' })
  env.PATH = `${standIns.bin('hydra')}:/usr/bin:/bin`
  expect(standIns.run('hydra', ['hydra-init'], env)).toMatchObject({ status: 0 })
  const user = ['hydra-create-user', 'alice', '--role', 'admin', '--password-prompt']
  expect(standIns.run('hydra', user, env, 'foobar\nfoobar\n')).toMatchObject({ status: 0 })
  const port = await freePort()
  url = `http://127.0.0.1:${port}`
  await standIns.start(
    'hydra',
    ['hydra-server', '-f', '-h', '127.0.0.1', '-p', `${port}`],
    env,
    async (daemon) => daemon.log.includes('Accepting connections'),
  )
  runner = await standIns.start('hydra', ['hydra-queue-runner', '-v'], env, async (daemon) =>
    daemon.log.includes('checking the queue'),
  )
  evaluator = await standIns.start('hydra', ['hydra-evaluator'], env, async () => true)
  session = new HydraSession(url, senderFromOperator(url, { signal: run.signal, log: () => {} }))
  await session.login(undefined, 'alice', 'foobar')
  await session.request('PUT', '/project/infra', { displayname: 'Infra', enabled: 1 })
  const inputs = { src: { type: 'path', value: source } }
  const jobset = { nixexprinput: 'src', nixexprpath: 'release.nix', enabled: 1, checkinterval: 0, inputs }
  await session.request('PUT', '/jobset/infra/main', jobset)
})

afterAll(async () => {
  await standIns.dispose()
  postgres?.stop()
})

describe('a Hydra that evaluates and builds', () => {
  let green = 0

  it('has no evaluation to deploy at first', async () => {
    await expect(chosen()).rejects.toMatchObject({
      message: `Hydra at ${url}: jobset infra:main has no evaluation yet`,
    })
  })

  it('gives the results of a green evaluation, which a stuck build hides from its own latest-finished', async () => {
    green = await push('echo web > $out')
    const choice = await chosen()
    expect(choice.evaluation?.id).toBe(green)
    const { path, build } = await choice.result('web', 'web')
    expect([build.job, path.slice(-4)]).toEqual(['web', '-web'])
    const hidden: unknown = await chosen({ which: { kind: 'latest-finished' } }).catch(
      (error: unknown) => error,
    )
    if (!(hidden instanceof OpsError)) throw new Error('latest-finished was found')
    expect(hidden.message).toContain('without unfinished builds has a green gate')
  })

  it('signs the results, which an empty store then fetches by itself', async () => {
    const path = StorePath.parse((await (await chosen()).result('web', 'web')).path)
    const folder = join(standIns.nix.folder, 'empty')
    const settings = (key: string) => `substituters = file://${cache}\ntrusted-public-keys = ${key}`
    const store = (key: string) =>
      createSubstituter(
        createNixCommand({
          local: localCommands,
          stateRoot: folder,
          env: { NIX_REMOTE: folder, NIX_CONFIG: settings(key) },
        }),
      )
    const options = { allowUnsigned: false }
    const other = store(`other-1:${'A'.repeat(43)}=`)
    expect(await other.fetch(undefined, path, options, run)).toMatchObject({ kind: 'unsigned' })
    expect(existsSync(join(folder, path))).toBe(false)
    const own = store(readFileSync(`${secret}.pub`, 'utf8').trim())
    expect(await own.fetch(undefined, path, options, run)).toBeUndefined()
    expect(readFileSync(join(folder, path), 'utf8')).toBe('web\n')
  })

  it('shows that its queue is stuck and not busy', async () => {
    await runner.until('the runner counts the step', async () => {
      const status = await read.runnerStatus(api())
      const only = (await read.queue(api())).length === 1
      return only && (status.nrUnsupportedSteps ?? 0) > 0 && (status.nrActiveSteps ?? 0) === 0
    })
    const queue = await read.queue(api())
    expect(queue.map(({ job }) => job)).toEqual(['stuck'])
    const state = judgeQueue(await read.runnerStatus(api()), queue.length, new Date())
    expect(state.kind).toBe('stuck')
    expect(state.blocked[0]?.cause).toContain('no builder offers the system or a feature')
  })

  it('keeps the last green evaluation when the newest is red, and shows the log of what failed', async () => {
    const red = await push('echo the cause; exit 1')
    const choice = await chosen()
    expect(choice.evaluation?.id).toBe(green)
    expect(choice.passed).toEqual([
      { id: red, why: expect.stringMatching(/^build \d+: a dependency failed$/) },
    ])
    await expect(chosen({ which: { kind: 'evaluation', id: red } })).rejects.toThrow('the gate is not green')
    const web = await read.buildIn(api(), red, 'web')
    expect(await read.logOf(api(), web?.id ?? 0)).toContain('the cause')
  })

  it('cancels a build for a user, and restarts none that waits', async () => {
    const id = (await read.queue(api())).find(({ job }) => job === 'stuck')?.id ?? 0
    await expect(changeBuild(session, 'restart', id)).rejects.toThrow('This build cannot be restarted.')
    await changeBuild(session, 'cancel', id)
    expect(describeBuild(await read.build(api(), id))).toBe('cancelled')
    await expect(changeBuild(session, 'cancel', id)).rejects.toThrow('This build cannot be cancelled.')
    const anonymous = wayFromOperator(url, { signal: run.signal, log: () => {} })
    await expect(changeBuild(anonymous, 'restart', id)).rejects.toMatchObject({ code: 'HYDRA_REFUSED' })
  })
})
