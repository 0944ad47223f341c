import { createSocket } from 'node:dgram'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { freePort } from '../fixtures/free-port.js'
import { type PrivatePostgres, startPostgres } from './private-postgres.js'
import { send } from './replay.js'
import { type Daemon, StandIns } from './stand-in-packages.js'

/** The stand-ins for tests of the C++ queue runner's status and of its clients. */
const standIns = new StandIns()
const cache = join(standIns.nix.folder, 'cache')
const secret = join(standIns.nix.folder, 'secret')
const source = join(standIns.nix.folder, 'source')
const slow = join(standIns.nix.folder, 'slow')
const seen = join(standIns.nix.folder, 'seen')
let postgres: PrivatePostgres | undefined
let statsd: Statsd | undefined
let env: Record<string, string> = {}
let port = 0
let runner: Daemon

beforeAll(async () => {
  postgres = startPostgres()
  await standIns.build('hydra')
  await standIns.nix.nix('nix-store', ['--generate-binary-cache-key', 'ci-1', secret, `${secret}.pub`])
  // A build continues until the test has seen it.
  mkdirSync(slow)
  const waits = `case "$1" in -r) while [ ! -e ${seen} ]; do sleep 0.1; done ;; esac`
  writeFileSync(join(slow, 'nix-store'), `#!/bin/sh\n${waits}\nexec /usr/bin/nix-store "$@"\n`, {
    mode: 0o755,
  })
  statsd = await startStatsd()
  writeConfig('127.0.0.1:0')
  env = await standIns.env({
    ...postgres.env,
    HYDRA_DBI: 'dbi:Pg:dbname=hydra;user=hydra;',
    PATH: `${slow}:/usr/bin:/bin`,
  })
  expect(standIns.run('hydra', ['hydra-init'], env)).toMatchObject({ status: 0 })
  expect(standIns.run('hydra', ['hydra-create-user', 'alice'], env)).toMatchObject({ status: 0 })
  port = await freePort()
  const server = ['hydra-server', '-f', '-h', '127.0.0.1', '-p', `${port}`]
  await standIns.start('hydra', server, env, async ({ log }) => log.includes('Accepting connections'))
  runner = await startRunner()
})

afterAll(async () => {
  await standIns.dispose()
  statsd?.close()
  postgres?.stop()
})

const startRunner = () =>
  standIns.start('hydra', ['hydra-queue-runner', '-v'], env, async ({ log }) =>
    log.includes('checking the queue'),
  )

/**
 * Writes the configuration. The kernel chooses the metrics port unless a test names one, because other tests run too.
 */
function writeConfig(metrics: string): void {
  writeFileSync(
    join(standIns.data, 'hydra.conf'),
    `using_frontend_proxy = 1
gc_roots_dir = ${standIns.data}/gcroots
store_uri = file://${cache}?secret-key=${secret}
binary_cache_secret_key_file = ${secret}
max_unsupported_time = 600
queue_runner_metrics_address = ${metrics}
<statsd>
  host = 127.0.0.1
  port = ${statsd?.port}
</statsd>
`,
  )
}

interface Statsd {
  readonly port: number
  /** The messages that the server has received, newest last. */
  readonly told: string[]
  close(): void
}

async function startStatsd(): Promise<Statsd> {
  const socket = createSocket('udp4')
  const told: string[] = []
  socket.on('message', (message) => told.push(message.toString()))
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  return { port: socket.address().port, told, close: () => socket.close() }
}

const Status = z.looseObject({
  status: z.string(),
  nrQueuedBuilds: z.number().optional(),
  nrRunnableSteps: z.number().optional(),
  nrActiveSteps: z.number().optional(),
  nrUnsupportedSteps: z.number().optional(),
})

async function runnerStatus(): Promise<z.infer<typeof Status>> {
  const request = { method: 'GET', path: '/queue-runner-status', headers: { Accept: 'application/json' } }
  return Status.parse(JSON.parse((await send(port, request)).body))
}

it('the queue runner offers its metrics at an address of its own, and announces that first', async () => {
  const [, address = '', at = ''] =
    /^Starting the Prometheus exporter on (.*)\nStarted the Prometheus exporter, listening on \1\/metrics \(port (\d+)\)$/m.exec(
      runner.log,
    ) ?? []
  expect(address).toBe('127.0.0.1:0')
  const figures = await send(Number(at), { method: 'GET', path: '/metrics', headers: {} })
  expect(figures.status).toBe(200)
  expect(figures.body).toMatch(/^hydraqueuerunner_queue_build_loads_total 0$/m)
  expect((await send(Number(at), { method: 'GET', path: '/', headers: {} })).status).toBe(404)
})

it('the status counts the step that is being built, and the step that no machine can build', async () => {
  mkdirSync(source)
  writeFileSync(join(source, 'release.nix'), jobs)
  postgres?.sql(`insert into projects (name, displayname, owner) values ('p', 'P', 'alice');
    insert into jobsets (project, name, emailoverride, nixexprinput, nixexprpath) values ('p', 'j', '', 'src', 'release.nix');
    insert into jobsetinputs (project, jobset, name, type) values ('p', 'j', 'src', 'path');
    insert into jobsetinputalts (project, jobset, input, altnr, value) values ('p', 'j', 'src', 0, '${source}');`)
  expect(standIns.run('hydra', ['hydra-eval-jobset', 'p', 'j'], env)).toMatchObject({ status: 0 })
  // One build runs until the test has seen both builds; the other build waits for a machine that supports it.
  await runner.until('one step is built and one is of no use to any machine', async () => {
    const { nrActiveSteps, nrUnsupportedSteps } = await runnerStatus()
    return nrActiveSteps === 1 && nrUnsupportedSteps === 1
  })
  expect(await runnerStatus()).toMatchObject({ status: 'up', nrQueuedBuilds: 2, nrRunnableSteps: 1 })
  writeFileSync(seen, '')
  await runner.until('the one that is built is finished', async () => {
    const { nrActiveSteps, nrQueuedBuilds } = await runnerStatus()
    return nrActiveSteps === 0 && nrQueuedBuilds === 1
  })
  expect(await runnerStatus()).toMatchObject({ nrRunnableSteps: 1, nrUnsupportedSteps: 1 })
  postgres?.sql("update builds set timestamp = 0 where job = 'alien'")
  await runner.until('the other one is given up', async () => (await runnerStatus()).nrQueuedBuilds === 0)
  await runner.says(/^aborting unsupported build step '.*-alien\.drv' \(type 'mips64-plan9:quantum'\)$/m)
  expect(await runnerStatus()).toMatchObject({ nrRunnableSteps: 0, nrUnsupportedSteps: 0 })
})

it('statistics are sent repeatedly, each time with the queue runner’s own warning', async () => {
  const warning = 'hydra.conf: binary_cache_secret_key_file is deprecated and ignored.'
  const sender = await standIns.start(
    'hydra',
    ['hydra-send-stats'],
    { ...env, HYDRA_STAND_IN_POLL_SECONDS: '0.1' },
    async ({ log }) => log.split(warning).length > 2,
  )
  await sender.until('it is told that the queue runner is up', () =>
    ['hydra.queue.up:1|g', 'hydra.queue.steps.active:0|g'].every((each) => statsd?.told.includes(each)),
  )
  postgres?.admit(false)
  await sender.until('it warns of a database that refuses it', () =>
    sender.log.includes('cannot get queue runner stats\n'),
  )
  await sender.says('Peer authentication failed for user "hydra"')
  postgres?.admit(true)
  const before = statsd?.told.length ?? 0
  await sender.until(
    'it sends again',
    () => statsd?.told.slice(before).includes('hydra.queue.up:1|g') === true,
  )
  expect(await sender.stop()).not.toBe(1)
})

it('a killed queue runner is down, and a request to it fails because it did not respond', async () => {
  await runner.kill()
  expect(standIns.run('hydra', ['hydra-queue-runner', '--status'], env)).toMatchObject({
    status: 1,
    stdout: expect.stringContaining('"up"'),
    stderr: expect.stringContaining('error: queue runner did not respond; status information may be wrong\n'),
  })
  expect(await runnerStatus()).toMatchObject({ status: 'unknown' })
  // The unit runs this command after the queue runner has ended.
  expect(standIns.run('hydra', ['hydra-queue-runner', '--unlock'], env)).toMatchObject({ status: 0 })
  expect(standIns.run('hydra', ['hydra-queue-runner', '--status'], env)).toMatchObject({
    status: 0,
    stdout: '{"status":"down"}\n',
  })
  runner = await startRunner()
})

it('a queue runner with a taken port ends before it reads its key, with the words of the real one', async () => {
  await runner.stop()
  const holder = createServer()
  const taken = await freePort()
  await new Promise<void>((resolve) => holder.listen(taken, '127.0.0.1', resolve))
  writeConfig(`127.0.0.1:${taken}`)
  chmodSync(secret, 0o000)
  const ended = standIns.run('hydra', ['hydra-queue-runner', '-v'], env)
  expect(ended).toMatchObject({
    status: 1,
    stdout: expect.stringMatching(
      new RegExp(`^Starting the Prometheus exporter on 127\\.0\\.0\\.1:${taken}$`, 'm'),
    ),
    stderr: expect.stringMatching(
      /^error: null context when constructing CivetServer\. Possible problem binding to port\.$/m,
    ),
  })
  expect(ended.stdout).not.toContain('Started')
  expect(ended.stderr).not.toContain(secret)
  chmodSync(secret, 0o600)
  holder.close()
  const free = await startRunner()
  await free.says(`Started the Prometheus exporter, listening on 127.0.0.1:${taken}/metrics (port ${taken})`)
  await free.stop()
  writeConfig('127.0.0.1:0')
})

const jobs = `let
  job = attributes: derivation ({ system = "x86_64-linux"; builder = "/bin/sh"; } // attributes);
in
{
  hello = job { name = "hello"; args = [ "-c" "echo hello > $out" ]; };
  alien = job { name = "alien"; system = "mips64-plan9"; requiredSystemFeatures = [ "quantum" ]; args = [ ]; };
}
`
