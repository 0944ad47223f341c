import { type ChildProcess, spawn } from 'node:child_process'
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { liveLogsSettings } from '../../../src/setup/hydra/live-logs.js'
import { siteText } from '../../../src/setup/nginx/site-text.js'
import { freePort } from '../../fixtures/free-port.js'
import { type Message, type Refused, WebSocketClient } from '../../fixtures/websocket.js'
import { send } from '../../hydra/replay.js'
import { Daemon } from '../../hydra/stand-in-packages.js'
import { database, UnitsByHand } from './units-by-hand.js'

/**
 * The path of a log from a running build to a browser. The queue runner writes the log, hydra-ws follows the log, and
 * the real nginx passes it on. Units, settings and site are those of the set-up; hydra-ws is a stand-in.
 */
let hydra: UnitsByHand
let nginx: Daemon
let liveLogs: Daemon
let runner: Daemon
let server: Daemon
let sitePort = 0
/** The folder in which a build waits for a file. */
let gates = ''

beforeAll(async () => {
  sitePort = await freePort()
  const liveLogsPort = await freePort()
  hydra = await UnitsByHand.make(() => ({ hostName: 'hydra.example.org', nginx: { enable: true } }), {
    '127.0.0.1:9283': `127.0.0.1:${liveLogsPort}`,
  })
  gates = join(hydra.root, 'gates')
  mkdirSync(gates)
  hydra.write('ws.toml', liveLogsSettings(database))
  expect(await hydra.run('hydra-init')).toMatchObject({ status: 0 })
  await queueBuild()
  liveLogs = await hydra.start('hydra-ws', ({ log }) => log.includes(`bind=127.0.0.1:${liveLogsPort}`))
  server = await startServer()
  await hydra.start('hydra-notify', ({ log }) => log.includes('Not starting'))
  await startNginx(liveLogsPort)
  const { NIX_CONFIG = '' } = await hydra.standIns.env({})
  const sandbox = { NIX_CONFIG: `${NIX_CONFIG}\nextra-sandbox-paths = ${gates}` }
  runner = await hydra.start('hydra-queue-runner', ({ log }) => log.includes('checking the queue'), sandbox)
  await hydra.start('hydra-builder', () => runner.log.includes('Registered new machine'))
  const log = () =>
    join(hydra.standIns.data, 'build-logs', logOf(hydra.postgres.sql('select drvpath from builds')))
  await runner.until(
    'the build has said something',
    () => existsSync(log()) && readFileSync(log(), 'utf8') !== '',
  )
})
afterAll(async () => {
  await nginx?.stop()
  await hydra?.dispose()
})

const startServer = () => hydra.start('hydra-server', ({ log }) => log.includes('Accepting connections'))

/** Returns the relative path of a derivation's log. */
function logOf(derivation: string): string {
  const name = basename(derivation.trim())
  return join(name.slice(0, 2), name.slice(2))
}

/** Queues build 1, which prints lines and waits for a file between them. */
async function queueBuild(): Promise<void> {
  const source = join(hydra.root, 'source')
  mkdirSync(source)
  const wait = (gate: string) => `until [ -e ${gates}/${gate} ]; do sleep 0.1; done`
  const script = `PATH=/usr/bin:/bin; echo first; ${wait('second')}; echo second; ${wait('end')}; echo last > $out`
  writeFileSync(
    join(source, 'default.nix'),
    `{ }: { slow = derivation { name = "slow"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" ${JSON.stringify(script).replaceAll('$', '\\$')} ]; }; }`,
  )
  hydra.postgres.sql(`insert into users (username, fullname, emailaddress, password) values ('a', 'A', '', '!');
    insert into projects (name, displayname, owner) values ('p', 'P', 'a');
    insert into jobsets (project, name, emailoverride, nixexprinput, nixexprpath) values ('p', 'j', '', 'src', 'default.nix');
    insert into jobsetinputs (project, jobset, name, type) values ('p', 'j', 'src', 'path');
    insert into jobsetinputalts (project, jobset, input, altnr, value) values ('p', 'j', 'src', 0, '${source}');`)
  expect(await hydra.run('hydra-evaluator', ['hydra-eval-jobset', 'p', 'j'])).toMatchObject({ status: 0 })
}

/**
 * Starts nginx with hydra-ops's site. nginx waits one second for an answer, instead of 60, unless the site sets more.
 */
async function startNginx(liveLogsPort: number): Promise<void> {
  const { root, settings } = hydra
  const site = hydra
    .here(siteText(settings, { ipv6: false, certificate: '', key: '' }))
    .replaceAll('listen 80;', `listen 127.0.0.1:${sitePort};`)
  const impatient = `server { listen 127.0.0.1:${sitePort}; server_name impatient.example.org;
location / { proxy_pass http://127.0.0.1:${liveLogsPort}; proxy_http_version 1.1;
proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; } }`
  const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const whole = `daemon off; pid ${root}/pid; error_log stderr notice; events {}
http { access_log off; proxy_read_timeout 1s;
${folders.map((each) => `${each}_temp_path ${root}/${each};`).join(' ')}
${site}${impatient} }\n`
  writeFileSync(join(root, 'nginx.conf'), whole)
  const child: ChildProcess = spawn('/usr/sbin/nginx', ['-p', root, '-c', join(root, 'nginx.conf')], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  nginx = new Daemon(child)
  await nginx.says('start worker process')
}

const open = (path = '/hydra-ws', headers: Record<string, string | undefined> = {}) =>
  WebSocketClient.open(connect(sitePort, '127.0.0.1'), { path, headers })

/** Opens a connection that must be accepted. */
async function opened(...wish: Parameters<typeof open>): Promise<WebSocketClient> {
  const client: WebSocketClient | Refused = await open(...wish)
  if (!(client instanceof WebSocketClient)) throw new Error(`refused with ${client.refused}\n${nginx.log}`)
  return client
}

async function answerTo(message: object | string): Promise<Message> {
  const client = await opened()
  client.send(message)
  const answer = await client.next()
  client.close()
  await client.ended()
  return answer
}

const lines = (messages: readonly Message[]) =>
  messages.filter(({ type }) => type === 'logLine').map(({ line }) => line)

describe('the log of a running build', () => {
  it('goes through nginx as it grows, with its end, and is kept for other pages', async () => {
    const client = await opened('/hydra-ws', { Origin: 'http://hydra.example.org' })
    client.send({ type: 'logsStart', buildId: 1 })
    expect(await client.next()).toEqual({
      type: 'logsStart',
      buildId: 1,
      stepId: null,
      success: true,
      details: '',
    })
    const step = await opened()
    step.send({ type: 'logsStart', buildId: 1, stepId: 1 })
    // Lines from before the request have no time.
    const early = async () => {
      for (;;) {
        const message = await client.next()
        if (message.line === 'first') return
      }
    }
    await early()

    // nginx closes a silent connection after its default timeout, which does not apply to hydra-ops's site.
    const impatient = await opened('/hydra-ws', { Host: 'impatient.example.org' })
    await impatient.ended()
    writeFileSync(join(gates, 'second'), '')
    const second = await client.next()
    expect(second).toMatchObject({ type: 'logLine', buildId: 1, stepId: null, line: 'second' })
    expect(second.timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/)

    const listening = `select count(*) from pg_stat_activity where application_name = 'hydra-ws' and query = 'listen build_finished'`
    await liveLogs.until('it hears of builds', () => hydra.postgres.sql(listening).trim() === '1')
    writeFileSync(join(gates, 'end'), '')
    const end = await client.through('buildFinished')
    expect(end.slice(-2)).toEqual([
      { type: 'logsEnd', buildId: 1, stepId: null, success: true, details: '' },
      { type: 'buildFinished', buildId: 1 },
    ])
    const ofStep = await step.through('stepFinished')
    expect(lines(ofStep)).toContain('second')
    expect(ofStep.at(-1)).toEqual({ type: 'stepFinished', buildId: 1, stepId: 1 })
    for (const each of [client, step]) {
      each.close()
      await each.ended()
    }
  })
})

describe('hydra-ws behind nginx', () => {
  it('refuses what the real program refuses, in its words', async () => {
    const unknown = { buildId: 99, success: false, details: 'Build 99 not found' }
    expect(await answerTo({ type: 'logsStart', buildId: 99 })).toMatchObject({ stepId: null, ...unknown })
    expect(await answerTo({ type: 'logsStart', buildId: 1, stepId: 7 })).toMatchObject({
      success: false,
      details: 'Build step (1, 7) not found',
    })
    expect(await answerTo({ type: 'logsStart', buildId: 2 ** 31 })).toMatchObject({
      success: false,
      details: 'build_id out of range',
    })
    for (const wrong of [
      'hello',
      { type: 'logsStart' },
      { type: 'logsStart', buildId: '1' },
      { type: 'log' },
    ])
      expect(await answerTo(wrong)).toEqual({ type: 'invalidRequest', details: 'Invalid JSON' })
    expect(await answerTo({ type: 'logsEnd', buildId: 1 })).toMatchObject({
      success: false,
      details: 'Was not following log',
    })
    expect(await answerTo({ type: 'ping' })).toEqual({ type: 'pong' })
  })

  it('has no log of a finished build, whose log is compressed', async () => {
    await liveLogs.until('the log is compressed', async () => {
      const { success, details } = await answerTo({ type: 'logsStart', buildId: 1 })
      return success === false && details === 'Log file not found'
    })
  })

  it('gets requests for its own path alone, which Hydra never sees', async () => {
    expect(await open('/hydra-ws/1')).toEqual({ refused: 404 })
    expect(await open('/')).toEqual({ refused: 200 })
  })

  it('drops a request that is no WebSocket’s without an answer, which nginx calls a bad gateway', async () => {
    expect(await open('/hydra-ws', { Upgrade: undefined })).toEqual({ refused: 502 })
    expect(await open('/hydra-ws', { 'Sec-WebSocket-Version': '8' })).toEqual({ refused: 502 })
    await liveLogs.says('WebSocket protocol error: No "Upgrade: websocket" header')
    await liveLogs.says('WebSocket protocol error: No "Sec-WebSocket-Version: 13" header')
    const unmasked = await opened()
    unmasked.frame(0x1, Buffer.from('{}'), { masked: false })
    await unmasked.ended()
  })

  it('keeps a connection while the database is down, and needs no start after that', async () => {
    const client = await opened()
    const asked = async () => {
      client.send({ type: 'logsStart', buildId: 99 })
      return (await client.next()).details
    }
    hydra.postgres.down()
    try {
      // The real program fails at once if the socket is missing.
      expect(await asked()).toMatch(/^Database error: error communicating with database: No such file/)
      await liveLogs.says('PG listener error')
      expect(await open()).toEqual({ refused: 500 })
    } finally {
      hydra.postgres.up()
    }
    expect(await asked()).toBe('Build 99 not found')
    client.close()
    await client.ended()
  })

  it('shows no log to a page of another site, which the program itself would serve', async () => {
    for (const origin of ['https://evil.example.org', 'http://hydra.example.org.evil.example', 'null'])
      expect(await open('/hydra-ws', { Origin: origin })).toEqual({ refused: 403 })
    for (const origin of ['http://hydra.example.org', 'https://hydra.example.org:8443', 'http://localhost'])
      expect(await open('/hydra-ws', { Origin: origin })).toBeInstanceOf(WebSocketClient)
  })

  it('shows no log of a private Hydra to somebody who is not signed in', async () => {
    const argv = ['hydra-create-user', 'alice', '--password', 'foobar']
    expect(await hydra.run('hydra-server', argv)).toMatchObject({ status: 0 })
    await server.stop()
    expect(await open()).toEqual({ refused: 500 })
    appendFileSync(join(hydra.root, 'etc/hydra.conf'), 'private = 1\n')
    server = await startServer()
    expect(await open()).toEqual({ refused: 403 })
    const { headers } = await send(sitePort, {
      method: 'POST',
      path: '/login',
      headers: {
        Host: 'hydra.example.org',
        Origin: 'http://hydra.example.org',
        Accept: 'application/json',
        'Content-Type': 'application/json',
      },
      body: JSON.stringify({ username: 'alice', password: 'foobar' }),
    })
    const [cookie = ''] = `${headers['set-cookie']}`.split(';')
    expect(await open('/hydra-ws', { Cookie: cookie })).toBeInstanceOf(WebSocketClient)
    expect(await open('/.hydra-ops-visitor', { Cookie: cookie })).toEqual({ refused: 404 })
  })
})
