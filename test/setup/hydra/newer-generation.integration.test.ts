import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hydraConfig, hydraEnvironment } from '../../../src/setup/hydra/config-text.js'
import { healthProblems } from '../../../src/setup/hydra/health.js'
import {
  builderSettings,
  ownBuilder,
  queueRunnerSettings,
} from '../../../src/setup/hydra/joining-builders.js'
import { type HydraFacts, hydraFacts } from '../../../src/setup/hydra/package-facts.js'
import { type HydraSettings, hydraSettings } from '../../../src/setup/hydra/settings.js'
import { hydraUnits } from '../../../src/setup/hydra/units.js'
import { verifyNarInfo } from '../../../src/setup/narinfo-signature.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'
import { freePort } from '../../fixtures/free-port.js'
import { type PrivatePostgres, startPostgres } from '../../hydra/private-postgres.js'
import { type Daemon, StandIns } from '../../hydra/stand-in-packages.js'

/**
 * The units, hydra.conf and settings of a Hydra since March 2026, in the test's own folders. The test does systemd's
 * part for a unit: its environment and its program.
 */
const name = 'hydra-database-url'
const standIns = new StandIns()
const root = standIns.nix.folder
const moved: Readonly<Record<string, string>> = {
  '/nix/var/nix/gcroots/hydra': join(root, 'gcroots'),
  '/var/lib/hydra': standIns.data,
  '/run/hydra-queue-runner': join(root, 'run'),
  '/etc/hydra': join(root, 'etc'),
}
let postgres: PrivatePostgres
let settings: HydraSettings
let facts: HydraFacts
let units: ReadonlyMap<string, string>
let host: LocalShellHost
let runner: Daemon
let builder: Daemon

const here = (text: string) =>
  Object.entries(moved)
    .reduce((whole, [from, to]) => whole.replaceAll(from, to), text)
    .replaceAll('%2Frun%2Fpostgresql', encodeURIComponent(postgres.socket))

/** Parses a unit by the rules of systemd.syntax(7) that our units use. */
function commandOf(unit: string): { argv: string[]; env: Record<string, string> } {
  const text = units.get(`${unit}.service`) ?? ''
  const [, line = ''] = /^ExecStart=(.*)$/m.exec(text) ?? []
  const [program = '', ...args] = line.split(' ')
  const variables = [...text.matchAll(/^Environment="(.*)"$/gm)].map(([, each = '']) =>
    here(each.replaceAll('%%', '%').replaceAll(/\\(.)/g, '$1')),
  )
  const env = Object.fromEntries(
    variables.map((each) => [each.slice(0, each.indexOf('=')), each.slice(each.indexOf('=') + 1)]),
  )
  return { argv: [program.split('/').pop() ?? '', ...args.map(here)], env }
}

async function start(unit: string, ready: (daemon: Daemon) => boolean): Promise<Daemon> {
  const { argv, env } = commandOf(unit)
  // The store is the test's own, not the machine's; systemd sets LOGNAME by User=.
  const { NIX_REMOTE: _, ...rest } = env
  const whole = { ...(await standIns.env({ LOGNAME: 'hydra-queue-runner' })), ...rest }
  const { NIX_REMOTE = '' } = await standIns.env({})
  return standIns.start(name, argv, { ...whole, NIX_REMOTE }, async (daemon) => ready(daemon))
}

beforeAll(async () => {
  postgres = startPostgres()
  await standIns.build(name)
  for (const folder of ['run', 'etc', 'gcroots', 'machine']) mkdirSync(join(root, folder))
  const program = join(root, 'machine/runuser')
  writeFileSync(program, '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n', {
    mode: 0o755,
  })
  host = new LocalShellHost({ bin: join(root, 'machine'), moved })
  const secretKeyFile = join(root, 'secret')
  await standIns.nix.nix('nix-store', [
    ...['--generate-binary-cache-key', 'ci-1', secretKeyFile, `${secretKeyFile}.pub`],
  ])
  const wished = hydraSettings(
    taskMachine({
      hydra: {
        enable: true,
        package: '/nix/store/00000000000000000000000000000000-hydra',
        port: await freePort(),
        queueRunnerPort: await freePort(),
        sendStats: true,
        cache: { enable: true, secretKeyFile, directory: join(root, 'cache') },
      },
    }),
  )
  if (wished === undefined) throw new Error('no Hydra is wanted')
  settings = wished
  const path = dirname(standIns.bin(name))
  facts = await hydraFacts(host, path, taskRun())
  const database = { name: 'hydra', port: 5432 }
  const all = hydraUnits({ settings, package: path, facts, database, postgresql: 'p.service' })
  units = new Map(all.map((unit) => [unit.name, unit.text]))
  const write = (file: string, text: string) => writeFileSync(join(root, 'etc', file), here(text))
  write('hydra.conf', hydraConfig(settings, facts))
  symlinkSync(join(root, 'etc/hydra.conf'), join(standIns.data, 'hydra.conf'))
  write('queue-runner.toml', queueRunnerSettings(settings, database))
  write('builder.toml', builderSettings(ownBuilder(settings.options, facts)))
})
afterAll(async () => {
  await standIns.dispose()
  postgres?.stop()
})

/** Returns only the problems of builders; a guest tests users, the daemon and the rest. */
async function builderProblems(): Promise<string[]> {
  const environment = hydraEnvironment({ name: 'hydra', port: 5432 }, facts)
  const problems = await healthProblems(host, settings, { facts, environment, databasePort: 5432 }, taskRun())
  return problems.filter((each) => /builder|queue runner/.test(each))
}

describe('a Hydra with a queue runner that builders connect to, started from its units,', () => {
  it('makes its database, and starts a queue runner without builders', async () => {
    const { argv, env } = commandOf('hydra-init')
    expect(standIns.run(name, argv, { ...(await standIns.env({})), ...env })).toMatchObject({ status: 0 })
    expect(await builderProblems()).toEqual([
      `the queue runner does not answer on port ${settings.options.queueRunnerPort}`,
    ])
    runner = await start('hydra-queue-runner', (daemon) => daemon.log.includes('checking the queue'))
    expect(await builderProblems()).toEqual(['no builder is connected to the queue runner'])
  })

  it('has a builder of its own', async () => {
    builder = await start('hydra-builder', () => runner.log.includes('Registered new machine'))
    expect(await builderProblems()).toEqual([])
  })

  it('evaluates, builds and signs', async () => {
    await start('hydra-evaluator', () => true)
    const source = join(root, 'source')
    mkdirSync(source)
    writeFileSync(
      join(source, 'default.nix'),
      '{ }: { probe = derivation { name = "probe"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo 1 > $out" ]; }; }',
    )
    postgres.sql(`insert into users (username, fullname, emailaddress, password) values ('a', 'A', '', '!');
      insert into projects (name, displayname, owner) values ('p', 'P', 'a');
      insert into jobsets (project, name, emailoverride, nixexprinput, nixexprpath, triggertime) values ('p', 'j', '', 'src', 'default.nix', 1);
      insert into jobsetinputs (project, jobset, name, type) values ('p', 'j', 'src', 'path');
      insert into jobsetinputalts (project, jobset, input, altnr, value) values ('p', 'j', 'src', 0, '${source}');`)
    const built = () => postgres.sql('select finished, buildstatus from builds').trim()
    await runner.until('the build is finished', () => built() === '1|0')
    const path = postgres.sql('select path from buildoutputs').trim()
    const narinfo = join(root, 'cache', `${path.slice(11, 43)}.narinfo`)
    await runner.until('it is in the cache', () => existsSync(narinfo))
    const key = readFileSync(join(root, 'secret.pub'), 'utf8').trim()
    expect(verifyNarInfo(readFileSync(narinfo, 'utf8'), key)).toBe(true)
  })

  it('is known to have lost its builder', async () => {
    expect(await builder.stop()).toBe(0)
    await runner.until('the builder is gone', () => runner.log.includes('Removed machine'))
    expect(await builderProblems()).toEqual(['no builder is connected to the queue runner'])
  })

  it('has statistics that go on, because they know the address to ask', async () => {
    const { argv, env } = commandOf('hydra-send-stats')
    const once = [...argv, '--once']
    const ended = standIns.run(name, once, { ...(await standIns.env({})), ...env })
    expect(ended).toMatchObject({ status: 0, stderr: '' })
    const stats = await start('hydra-send-stats', () => true)
    expect(stats.status).toBeNull()
  })
})
