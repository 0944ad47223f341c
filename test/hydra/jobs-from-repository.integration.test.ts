import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createEvaluator } from '../../nix/evaluate.js'
import { removeStore } from '../../nix/temporary-store.js'
import type { NetworkDefinition } from '../../src/core/definition.js'
import { jsonSchema } from '../../src/core/json.js'
import { DeploymentName, MachineName } from '../../src/core/names.js'
import { packageRoot } from '../../src/core/package-root.js'
import type { PlanItem } from '../../src/core/plan.js'
import { deploy } from '../../src/deploy/deploy.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { hydraApi } from '../../src/hydra/api.js'
import * as read from '../../src/hydra/read.js'
import { wayFromOperator } from '../../src/hydra/way.js'
import { evaluationRequest } from '../../src/network/evaluate.js'
import { initJobs } from '../../src/operations/jobs-init.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { createFakeOps, type FakeOps, fakeRegistry } from '../fakes/fake-ops.js'
import { FakeConfig } from '../fakes/fake-provider.js'
import { noFlags } from '../fakes/scratch-nix.js'
import { standardRequest } from '../fakes/standard-request.js'
import { freePort } from '../fixtures/free-port.js'
import { greenWish } from '../fixtures/hydra-wish.js'
import { commitAll, git } from '../nix/network-in-git.js'
import { createNixSandbox, type NixSandbox } from '../nix/real-nix.js'
import { type PrivatePostgres, startPostgres } from './private-postgres.js'
import { type Daemon, StandIns } from './stand-in-packages.js'

const standIns = new StandIns()
const home = mkdtempSync(join(tmpdir(), 'ho-origin-'))
const checkout = join(home, 'network')
const origin = join(home, 'network.git')
const place = { project: 'fleet', jobset: 'main' }
let postgres: PrivatePostgres | undefined
let nix: NixSandbox
let ops: FakeOps
let env: Record<string, string>
let runner: Daemon
let url = ''

beforeAll(async () => {
  postgres = startPostgres()
  await standIns.build('hydra')
  writeFileSync(
    join(standIns.data, 'hydra.conf'),
    `using_frontend_proxy = 1\ngc_roots_dir = ${standIns.data}/gcroots\nqueue_runner_metrics_address = 127.0.0.1:0\n`,
  )
  env = await standIns.env({ ...postgres.env, HYDRA_DBI: 'dbi:Pg:dbname=hydra;user=hydra;' })
  env.PATH = `${standIns.bin('hydra')}:/usr/bin:/bin`
  expect(standIns.run('hydra', ['hydra-init'], env)).toMatchObject({ status: 0 })
  postgres.sql("insert into users (username, emailaddress, password) values ('alice', '', '!')")
  const port = await freePort()
  url = `http://127.0.0.1:${port}`
  await standIns.start(
    'hydra',
    ['hydra-server', '-f', '-h', '127.0.0.1', '-p', `${port}`],
    env,
    async ({ log }) => log.includes('Accepting connections'),
  )
  runner = await standIns.start('hydra', ['hydra-queue-runner', '-v'], env, async ({ log }) =>
    log.includes('checking the queue'),
  )
  await openOperator()
})

afterAll(async () => {
  await standIns.dispose()
  postgres?.stop()
  ops.cleanup()
  await nix.dispose()
  await removeStore(home)
})

/** Sets up an operator with the real Nix and git, and with made-up machines. */
async function openOperator(): Promise<void> {
  nix = createNixSandbox()
  ops = await createFakeOps()
  runFakeDebian(ops)
  const optionsNix = join(packageRoot(), 'providers', 'ssh', 'options.nix')
  const evaluate = createEvaluator({
    command: nix.command,
    providers: [
      {
        ...{ name: 'fake', targetEnvs: ['fake'], optionKey: 'fake', optionsNix },
        configSchema: FakeConfig.transform((config) => jsonSchema.parse(config)),
      },
    ],
  })
  Object.assign(ops.nix, { evaluate })
  Object.assign(ops.local, { run: localCommands.run })
  Object.assign(ops, {
    providers: fakeRegistry(ops.providers.all().map((each) => ({ ...each, optionsNix }))),
  })
  for (const machine of ['web', 'db']) ops.nix.caches.set(machine, 'ok')
}

/** Returns the network as the operator would build it now. */
async function wouldBuild(): Promise<NetworkDefinition> {
  const options = { args: {}, searchPath: [], nix: noFlags }
  const request = evaluationRequest(ops, await ops.store.resolve('net'), options, 'write')
  return ops.nix.evaluate(request, { signal: ops.signal, log: () => {} })
}

function evaluateJobset(jobset: string): void {
  const ended = standIns.run('hydra', ['hydra-eval-jobset', 'fleet', jobset], env)
  expect(ended.status, ended.stderr).toBe(0)
}

it('a Hydra builds a network from its repository after jobs init, and a deploy takes that result', async () => {
  mkdirSync(checkout)
  writeFileSync(
    join(checkout, 'hydra.nix'),
    `let machine = { deployment.os = "debian"; deployment.targetEnv = "fake"; }; in {
      web = { config, ... }: { imports = [ machine ]; deployment.files."/etc/all".text = "\${config.deployment.uuid} \${./.}"; };
      db = { imports = [ machine ]; deployment.files."/etc/me".source = ./hydra.nix; };
    }`,
  )
  commitAll(checkout)
  git(home, 'init', '--quiet', '--bare', '--initial-branch=main', origin)
  git(checkout, 'remote', 'add', 'origin', origin)
  const file = join(checkout, 'hydra.nix')
  const name = DeploymentName.parse('net')
  await ops.store.create({ name, expressions: [file], searchPath: [], args: {} })
  const jobs = { deployment: 'net', folder: undefined, cwd: '/', repository: undefined, nixpkgs: undefined }
  expect((await initJobs(ops, { ...jobs, nix: noFlags })).written).toContain('spec.json')
  commitAll(checkout)
  git(checkout, 'push', '--quiet', 'origin', 'main')

  postgres?.sql(`insert into projects (name, displayname, owner, declfile, decltype, declvalue)
    values ('fleet', 'Fleet', 'alice', 'hydra/spec.json', 'git', '${origin} main');
    insert into jobsets (name, project, emailoverride, nixexprinput, nixexprpath) values ('.jobsets', 'fleet', '', '', '')`)
  evaluateJobset('.jobsets')
  expect(
    postgres?.sql("select name, enabled, nixexprpath from jobsets where name <> '.jobsets'").trim(),
  ).toBe('main|1|hydra/default.nix')
  evaluateJobset('main')
  const api = hydraApi(wayFromOperator(url, { signal: ops.signal, log: () => {} }))
  const id = Number(postgres?.sql('select max(id) from jobsetevals'))
  await runner.until('every build is finished', async () =>
    (await read.buildsOf(api, id)).every(({ finished }) => finished === 1),
  )
  const builds = await read.buildsOf(api, id)
  expect(builds.map(({ job, buildstatus }) => [job, buildstatus]).sort()).toEqual([
    ['db', 0],
    ['release', 0],
    ['web', 0],
  ])

  // The first deploy gives the machines the addresses that `hydra jobs init` predicted.
  const dryRun = { ...standardRequest, dryRun: true }
  const source = { ...place, url }
  const { plan, deployment } = await deploy(ops, { ...dryRun, fromHydra: { ...greenWish, source } })
  const paths = Object.fromEntries(builds.map(({ job, buildoutputs }) => [job, buildoutputs?.out?.path]))
  for (const machine of ['web', 'db']) {
    const items = plan.machines.find((each) => each.machine === machine)?.items ?? []
    expect(noteOf(items, 'closure')).toBe(paths[machine])
    expect(items.find(({ subject }) => subject === 'hydra')?.detail).toContain(
      `evaluation ${id} of fleet:main`,
    )
  }
  await ops.store.lock(deployment.uuid, async (held) => {
    for (const [machine, record] of Object.entries(deployment.machines))
      await held.putMachine(MachineName.parse(machine), record)
  })
  const { machines } = await wouldBuild()
  const drvs = Object.fromEntries(builds.map(({ job, drvpath }) => [job, drvpath]))
  for (const [machine, { drvPath }] of machines) expect(drvs[machine], machine).toBe(drvPath)
})

function noteOf(items: readonly PlanItem[], subject: string): string | undefined {
  return items.find((item) => item.subject === subject)?.note
}
