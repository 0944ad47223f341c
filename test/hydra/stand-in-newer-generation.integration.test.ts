import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freePort } from '../fixtures/sshd.js'
import { type PrivatePostgres, startPostgres } from './private-postgres.js'
import { send } from './replay.js'
import { type Daemon, StandIns } from './stand-in-packages.js'

const name = 'hydra-database-url'
const standIns = new StandIns()
const cache = join(standIns.nix.folder, 'cache')
const settings = join(standIns.nix.folder, 'queue-runner.toml')
let postgres: PrivatePostgres | undefined
let env: Record<string, string> = {}
let ports = { rest: 0, builders: 0 }
let runner: Daemon

beforeAll(async () => {
  postgres = startPostgres()
  await standIns.build(name)
  ports = { rest: await freePort(), builders: await freePort() }
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
  // The address of the database is in the settings alone.
  writeFileSync(
    settings,
    `dbUrl = "${database}"\nhydraDataDir = "${standIns.data}"\nrootsDir = "${standIns.data}/roots"\nremoteStoreAddr = ["file://${cache}"]\n`,
  )
  const { HYDRA_DATABASE_URL: _, ...without } = env
  const sockets = ['--rest-bind', `127.0.0.1:${ports.rest}`, '--grpc-bind', `127.0.0.1:${ports.builders}`]
  runner = await standIns.start(
    name,
    ['hydra-queue-runner', ...sockets, '--config-path', settings],
    without,
    async (daemon) => daemon.log.includes('checking the queue'),
  )
})

afterAll(async () => {
  await standIns.dispose()
  postgres?.stop()
})

const finished = () => postgres?.sql('select finished, buildstatus from builds').trim()

it('the package says by where the real one reads its variable which generation it is', () => {
  const module = join(standIns.bin(name), '../libexec/hydra/lib/Hydra/Model/DB.pm')
  expect(readFileSync(module, 'utf8')).toContain('HYDRA_DATABASE_URL')
})

it('the queue runner tells its status over HTTP, and builds nothing while no builder is there', async () => {
  await runner.until('the build is looked at', () => runner.log.includes('loading build 1 (p:j:hello)'))
  const status = await send(ports.rest, { method: 'GET', path: '/status', headers: {} })
  expect(JSON.parse(status.body)).toMatchObject({ status: 'up', nrQueuedBuilds: 1, machines: {} })
  expect(finished()).toBe('0|')
})

it('a builder that comes makes the queue move', async () => {
  const builder = ['hydra-builder', '--gateway-endpoint', `http://127.0.0.1:${ports.builders}`]
  await standIns.start(name, builder, env, async () => runner.log.includes(' joined'))
  await runner.until('the build is finished', () => finished() === '1|0')
  const path = postgres?.sql('select path from buildoutputs').trim() ?? ''
  expect(existsSync(join(cache, `${path.slice(11, 43)}.narinfo`))).toBe(true)
})

it('settings that are not there are named', () => {
  const ended = standIns.run(name, ['hydra-queue-runner', '--config-path', '/nonexistent.toml'], env)
  expect(ended).toMatchObject({
    status: 1,
    stderr: 'Error: Reading configuration file: /nonexistent.toml: No such file or directory\n',
  })
})
