import { mkdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freePort } from '../fixtures/free-port.js'
import { WebSocketClient } from '../fixtures/websocket.js'
import { type PrivatePostgres, startPostgres } from './private-postgres.js'
import { StandIns } from './stand-in-packages.js'

/**
 * The package with the stand-in for hydra-ws. The command line, settings and database access follow the real source.
 */
const name = 'hydra-database-url'
const standIns = new StandIns()
const settings = join(standIns.nix.folder, 'ws.toml')
let postgres: PrivatePostgres | undefined
let env: Record<string, string> = {}

beforeAll(async () => {
  postgres = startPostgres()
  await standIns.build(name)
  env = await standIns.env({})
})
afterAll(async () => {
  await standIns.dispose()
  postgres?.stop()
})

const url = () => `postgres://hydra@${encodeURIComponent(postgres?.socket ?? '')}:5432/hydra`
const ended = (text: string, more: Record<string, string> = {}) => {
  writeFileSync(settings, text)
  return standIns.run(name, ['hydra-ws', '--config-path', settings], { ...env, ...more })
}

it('refuses an unknown option, and lists its two options', () => {
  expect(standIns.run(name, ['hydra-ws', '--port', '1'], env)).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("error: unexpected argument '--port' found"),
  })
  expect(standIns.run(name, ['hydra-ws', '--help'], env)).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/--bind <BIND>\n.*--config-path <CONFIG_PATH>/),
  })
})

it('ends at an unknown setting, at a setting of another type, and at settings that it cannot read', () => {
  const unknown = ended('logDir = "/x"\n')
  expect(unknown.status).toBe(1)
  expect(unknown.stderr).toContain(
    `Failed to parse TOML from '${settings}': unknown field \`logDir\`, expected one of \`dbUrl\`, \`maxDbConnections\`, \`idleGrace\`, \`hydraDataDir\``,
  )
  for (const wrong of [
    'maxDbConnections = "8"\n',
    'maxDbConnections = -1\n',
    'hydraDataDir = 1\n',
    'dbUrl\n',
  ])
    expect(ended(wrong)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining(`Failed to parse TOML from '${settings}'`),
    })
  const folder = standIns.run(name, ['hydra-ws', '--config-path', standIns.nix.folder], env)
  expect(folder).toMatchObject({ status: 1, stderr: expect.stringContaining('Failed to read config from') })
})

it('takes its defaults for a missing file: the database of every Hydra, and a folder in /tmp', () => {
  const missing = standIns.run(name, ['hydra-ws', '--config-path', '/nonexistent/ws.toml'], env)
  expect(missing.status).toBe(1)
  expect(missing.stderr).toContain("no config file found at '/nonexistent/ws.toml'! Using default config")
  expect(missing.stderr).toContain(
    'error communicating with database: No such file or directory (os error 2)',
  )
})

it('ends before it listens where PostgreSQL does not map its user', () => {
  postgres?.admit(false)
  try {
    const refused = ended(`dbUrl = "${url()}"\n`)
    expect(refused.status).toBe(1)
    expect(refused.stderr).toContain('Peer authentication failed for user "hydra"')
    expect(refused.stderr).not.toContain('bind=')
  } finally {
    postgres?.admit(true)
  }
})

it('asks the database that the environment names, before that of its settings, and shows neither', () => {
  const secret = 'postgres://hydra:foobar@%2Fnonexistent:5432/hydra'
  const refused = ended(`dbUrl = "${url()}"\n`, { HYDRA_DATABASE_URL: secret })
  expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining('No such file or directory') })
  expect(refused.stderr).not.toContain('foobar')
})

it('follows a log from its last 50 lines, over a path and for every origin', async () => {
  const derivation = '/nix/store/00000000000000000000000000000000-a.drv'
  expect(standIns.run(name, ['hydra-init'], { ...env, HYDRA_DATABASE_URL: url() }).status).toBe(0)
  postgres?.sql(`insert into users (username, fullname, emailaddress, password) values ('a', 'A', '', '!');
    insert into projects (name, displayname, owner) values ('p', 'P', 'a');
    insert into jobsets (project, name, emailoverride, nixexprinput, nixexprpath) values ('p', 'j', '', 'src', 'default.nix');
    insert into builds (id, finished, timestamp, jobset_id, job, drvpath, system) values (7, 0, 0, 1, 'a', '${derivation}', 'x86_64-linux');`)
  mkdirSync(join(standIns.data, 'build-logs/00'))
  const log = join(standIns.data, 'build-logs/00', derivation.slice(13))
  writeFileSync(log, Array.from({ length: 60 }, (_, index) => `line ${index}\r\n`).join(''))
  const port = await freePort()
  writeFileSync(settings, `dbUrl = "${url()}"\nhydraDataDir = "${standIns.data}"\nidleGrace = 1\n`)
  const argv = ['hydra-ws', '--bind', `127.0.0.1:${port}`, '--config-path', settings]
  const daemon = await standIns.start(name, argv, env, async ({ log: said }) => said.includes('bind='))
  const headers = { Origin: 'https://evil.example.org', Host: 'other.example.org' }
  const client = await WebSocketClient.open(connect(port, '127.0.0.1'), { path: '/any/path', headers })
  if (!(client instanceof WebSocketClient)) throw new Error(daemon.log)
  client.send({ type: 'logsStart', buildId: 7, unknown: true })
  expect(await client.next()).toMatchObject({ type: 'logsStart', success: true })
  expect(await client.next()).toEqual({ type: 'logLine', buildId: 7, stepId: null, line: 'line 10' })
  const listening = `select count(*) from pg_stat_activity where query = 'listen build_finished'`
  await daemon.until('it hears of builds', () => postgres?.sql(listening).trim() === '1')
  postgres?.sql(`select pg_notify('build_finished', '6\t7')`)
  const rest = await client.through('buildFinished')
  expect(rest.filter(({ type }) => type === 'logLine')).toHaveLength(49)
  // The port is in use, so a second server cannot start.
  expect(standIns.run(name, argv, env)).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('Address already in use (os error 98)'),
  })
})
