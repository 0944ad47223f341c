import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hydraEnvironment } from '../../../src/setup/hydra/config-text.js'
import { healthProblems } from '../../../src/setup/hydra/health.js'
import { verifyNarInfo } from '../../../src/setup/narinfo-signature.js'
import { taskRun } from '../../fakes/task-run.js'
import type { Daemon } from '../../hydra/stand-in-packages.js'
import { database, UnitsByHand } from './units-by-hand.js'

/** A Hydra since March 2026, started from its units. */
let hydra: UnitsByHand
let runner: Daemon
let builder: Daemon

beforeAll(async () => {
  hydra = await UnitsByHand.make((root) => {
    const cache = { enable: true, secretKeyFile: join(root, 'secret'), directory: join(root, 'cache') }
    return { sendStats: true, cache }
  })
  const key = join(hydra.root, 'secret')
  await hydra.standIns.nix.nix('nix-store', ['--generate-binary-cache-key', 'ci-1', key, `${key}.pub`])
})
afterAll(async () => {
  await hydra?.dispose()
})

/** Returns only the problems of builders; a guest tests users, the daemon and the rest. */
async function builderProblems(): Promise<string[]> {
  const { host, settings, facts } = hydra
  const environment = hydraEnvironment(database, facts)
  const problems = await healthProblems(host, settings, { facts, environment, databasePort: 5432 }, taskRun())
  return problems.filter((each) => /builder|queue runner/.test(each))
}

describe('a Hydra with a queue runner that builders connect to, started from its units,', () => {
  it('makes its database, and starts a queue runner without builders', async () => {
    expect(await hydra.run('hydra-init')).toMatchObject({ status: 0 })
    expect(await builderProblems()).toEqual([
      `the queue runner does not answer on port ${hydra.settings.options.queueRunnerPort}`,
    ])
    runner = await hydra.start('hydra-queue-runner', (daemon) => daemon.log.includes('checking the queue'))
    expect(await builderProblems()).toEqual(['no builder is connected to the queue runner'])
  })

  it('has a builder of its own', async () => {
    builder = await hydra.start('hydra-builder', () => runner.log.includes('Registered new machine'))
    expect(await builderProblems()).toEqual([])
  })

  it('evaluates, builds and signs', async () => {
    await hydra.start('hydra-evaluator', () => true)
    const source = join(hydra.root, 'source')
    mkdirSync(source)
    writeFileSync(
      join(source, 'default.nix'),
      '{ }: { probe = derivation { name = "probe"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo 1 > $out" ]; }; }',
    )
    const { postgres } = hydra
    postgres.sql(`insert into users (username, fullname, emailaddress, password) values ('a', 'A', '', '!');
      insert into projects (name, displayname, owner) values ('p', 'P', 'a');
      insert into jobsets (project, name, emailoverride, nixexprinput, nixexprpath, triggertime) values ('p', 'j', '', 'src', 'default.nix', 1);
      insert into jobsetinputs (project, jobset, name, type) values ('p', 'j', 'src', 'path');
      insert into jobsetinputalts (project, jobset, input, altnr, value) values ('p', 'j', 'src', 0, '${source}');`)
    const built = () => postgres.sql('select finished, buildstatus from builds').trim()
    await runner.until('the build is finished', () => built() === '1|0')
    const path = postgres.sql('select path from buildoutputs').trim()
    const narinfo = join(hydra.root, 'cache', `${path.slice(11, 43)}.narinfo`)
    await runner.until('it is in the cache', () => existsSync(narinfo))
    const key = readFileSync(join(hydra.root, 'secret.pub'), 'utf8').trim()
    expect(verifyNarInfo(readFileSync(narinfo, 'utf8'), key)).toBe(true)
  })

  it('is known to have lost its builder', async () => {
    expect(await builder.stop()).toBe(0)
    await runner.until('the builder is gone', () => runner.log.includes('Removed machine'))
    expect(await builderProblems()).toEqual(['no builder is connected to the queue runner'])
  })

  it('has statistics that go on, because they know the address to ask', async () => {
    const { argv } = hydra.commandOf('hydra-send-stats')
    expect(await hydra.run('hydra-send-stats', [...argv, '--once'])).toMatchObject({ status: 0, stderr: '' })
    const stats = await hydra.start('hydra-send-stats', () => true)
    expect(stats.status).toBeNull()
  })
})
