import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freePort } from '../fixtures/free-port.js'
import { type PrivatePostgres, startPostgres } from './private-postgres.js'
import { send } from './replay.js'
import { type Daemon, StandIns } from './stand-in-packages.js'

const name = 'hydra-database-url'
const standIns = new StandIns()
const cache = join(standIns.nix.folder, 'cache')
const settings = join(standIns.nix.folder, 'queue-runner.toml')
const socket = join(standIns.nix.folder, 'grpc.sock')
let postgres: PrivatePostgres | undefined
let env: Record<string, string> = {}
let without: Record<string, string> = {}
let restPort = 0
let runner: Daemon

beforeAll(async () => {
  postgres = startPostgres()
  await standIns.build(name)
  restPort = await freePort()
  const database = `postgres://hydra@${encodeURIComponent(postgres.socket)}:5432/hydra`
  env = await standIns.env({ HYDRA_DATABASE_URL: database })
  const source = join(standIns.nix.folder, 'source')
  mkdirSync(source)
  writeFileSync(
    join(source, 'release.nix'),
    '{ hello = derivation { name = "hello"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo hello > $out" ]; }; }',
  )
  expect(standIns.run(name, ['hydra-init'], env)).toMatchObject({ status: 0 })
  expect(standIns.run(name, ['hydra-create-user', 'alice'], env)).toMatchObject({ status: 0 })
  postgres.sql(`insert into projects (name, displayname, owner) values ('p', 'P', 'alice');
    insert into jobsets (project, name, emailoverride, nixexprinput, nixexprpath) values ('p', 'j', '', 'src', 'release.nix');
    insert into jobsetinputs (project, jobset, name, type) values ('p', 'j', 'src', 'path');
    insert into jobsetinputalts (project, jobset, input, altnr, value) values ('p', 'j', 'src', 0, '${source}');`)
  expect(standIns.run(name, ['hydra-eval-jobset', 'p', 'j'], env)).toMatchObject({ status: 0 })
  // Only the settings have the address of the database.
  writeFileSync(
    settings,
    `dbUrl = "${database}"\nhydraDataDir = "${standIns.data}"\nrootsDir = "${standIns.data}/roots"\nremoteStoreAddr = ["file://${cache}"]\n`,
  )
  const { HYDRA_DATABASE_URL: _, ...rest } = env
  without = { ...rest, LOGNAME: 'hydra-queue-runner' }
  runner = await standIns.start(name, runnerArgs(), without, async (daemon) =>
    daemon.log.includes('checking the queue'),
  )
})

const runnerArgs = (more: readonly string[] = ['--config-path', settings]) => [
  ...['hydra-queue-runner', '--rest-bind', `127.0.0.1:${restPort}`, '--grpc-bind', socket],
  ...more,
]

afterAll(async () => {
  await standIns.dispose()
  postgres?.stop()
})

const finished = () => postgres?.sql('select finished, buildstatus from builds').trim()

it('the package shows its generation in the same file as the real one', () => {
  const module = join(standIns.bin(name), '../libexec/hydra/lib/Hydra/Model/DB.pm')
  expect(readFileSync(module, 'utf8')).toContain('HYDRA_DATABASE_URL')
})

it('each program in Rust lists its options, and the others refuse to', () => {
  expect(standIns.run(name, ['hydra-queue-runner', '--help'], env)).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('--grpc-bind <GRPC_BIND>'),
  })
  expect(standIns.run(name, ['hydra-builder', '--help'], env)).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('--config-path <CONFIG_PATH>'),
  })
  expect(standIns.run(name, ['hydra-evaluator', '--help'], env)).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("error: unrecognised flag '--help'"),
  })
})

const machines = async () =>
  (await send(restPort, { method: 'GET', path: '/status/machines', headers: {} })).body

it('the queue runner reports its status over HTTP, and builds nothing without a builder', async () => {
  await runner.until('the build is looked at', () => runner.log.includes('loading build 1 (p:j:hello)'))
  const status = await send(restPort, { method: 'GET', path: '/status', headers: {} })
  expect(JSON.parse(status.body)).toMatchObject({
    queueRunner: { status: 'up', nrStepsRunnable: 1 },
    machines: {},
  })
  expect(JSON.parse(await machines())).toEqual({ machines: {}, machinesCount: 0 })
  expect(finished()).toBe('0|')
})

it('a connected builder makes the queue move, and the built paths are copied afterwards', async () => {
  const argv = ['hydra-builder', '--gateway-endpoint', `unix://${socket}`]
  const builder = await standIns.start(name, argv, env, async () =>
    runner.log.includes('Registered new machine'),
  )
  expect(JSON.parse(await machines())).toMatchObject({ machinesCount: 1 })
  await runner.until('the build is finished', () => finished() === '1|0')
  const path = postgres?.sql('select path from buildoutputs').trim() ?? ''
  await runner.until('it is copied', () => existsSync(join(cache, `${path.slice(11, 43)}.narinfo`)))
  expect(await builder.stop()).toBe(0)
  await runner.until('the builder is gone', () => runner.log.includes('Removed machine'))
})

it('hydra-server asks the queue runner at its configured address, and recognises an unreachable one', async () => {
  const answer = async (config: string) => {
    const port = await freePort()
    const file = join(standIns.nix.folder, `hydra-${port}.conf`)
    writeFileSync(file, config)
    const server = await standIns.start(
      name,
      ['hydra-server', '-f', '-h', '127.0.0.1', '-p', `${port}`],
      { ...env, HYDRA_CONFIG: file },
      async (daemon) => daemon.log.includes('Accepting connections'),
    )
    const path = '/queue-runner-status'
    const { body } = await send(port, { method: 'GET', path, headers: { Accept: 'application/json' } })
    await server.stop()
    return JSON.parse(body)
  }
  expect(await answer('')).toEqual({ status: 'unknown' })
  expect(await answer(`queue_runner_endpoint = http://127.0.0.1:${await freePort()}\n`)).toEqual({
    status: 'unreachable',
  })
  expect(await answer(`queue_runner_endpoint = http://127.0.0.1:${restPort}\n`)).toMatchObject({
    queueRunner: { status: 'up' },
  })
})

it('a second queue runner, an unknown setting, and a missing user name are refused', () => {
  const bad = join(standIns.nix.folder, 'bad.toml')
  writeFileSync(bad, 'hydraDataDri = "/x"\n')
  const refused = (argv: readonly string[], variables = without) => standIns.run(name, argv, variables)
  expect(refused(runnerArgs())).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('already running'),
  })
  expect(refused(runnerArgs(['--config-path', bad]))).toMatchObject({
    status: 1,
    stderr: `Error: loading config from '${bad}': unknown field \`hydraDataDri\`\n`,
  })
  expect(refused(['hydra-queue-runner', '--status'])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("error: unexpected argument '--status' found"),
  })
  const { LOGNAME: _, ...nameless } = without
  expect(refused(['hydra-queue-runner', '--config-path', settings], nameless).stderr).toContain('LOGNAME')
})

it('a builder without a queue runner ends with an error', () => {
  const ended = standIns.run(name, ['hydra-builder', '--gateway-endpoint', 'unix:///nonexistent/sock'], env)
  expect(ended).toMatchObject({ status: 1, stderr: expect.stringContaining('Error: Connecting to channel') })
})
