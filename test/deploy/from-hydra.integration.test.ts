import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DeploymentRecord } from '../../src/core/deployment.js'
import { OpsError } from '../../src/core/errors.js'
import { MachineName } from '../../src/core/names.js'
import type { FetchProblem } from '../../src/core/nix.js'
import { deploy } from '../../src/deploy/deploy.js'
import type { HydraWish } from '../../src/deploy/from-hydra.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { FakeAllocation } from '../fakes/fake-provider.js'
import { succeed } from '../fakes/fake-ssh.js'
import { fakeTask } from '../fakes/fake-task.js'
import { type ModelEvaluation, pathOf } from '../fakes/model-hydra.js'
import { linesOf } from '../fakes/script-values.js'
import { type ServedHydra, serveHydra } from '../fakes/served-hydra.js'
import { standardRequest } from '../fakes/standard-request.js'
import { greenWish } from '../fixtures/hydra-wish.js'

const day = 86_400
const unsigned: FetchProblem = { kind: 'unsigned', detail: 'is not signed by any of the keys' }

const plain = greenWish

let ops: FakeOps
let hydra: ServedHydra

function evaluation(id: number, gate: number | undefined = 0): ModelEvaluation {
  return {
    id,
    timestamp: Math.floor(ops.now().getTime() / 1000) - (100 - id) * day,
    revision: String(id).padStart(40, 'a'),
    jobs: {
      web: { id: id * 10, status: 0 },
      db: { id: id * 10 + 1, status: 0 },
      release: { id: id * 10 + 2, parts: ['web', 'db'], ...(gate === undefined ? {} : { status: gate }) },
    },
  }
}

beforeEach(async () => {
  ops = await createFakeOps({ network: fakeNetwork([fakeMachine('web'), fakeMachine('db')]) })
  runFakeDebian(ops)
  await rememberNetwork(ops)
  hydra = await serveHydra([evaluation(99, 2), evaluation(98), evaluation(97)])
  useNetwork()
  for (const machine of ['web', 'db']) ops.nix.caches.set(machine, 'ok')
})
afterEach(async () => {
  await hydra.close()
  ops.cleanup()
})

/** Sets the network, with these options in the deployment of `web`, or of all machines of `having`. */
function useNetwork(
  more: Record<string, unknown> = {},
  deployment: Record<string, unknown> = {},
  having: readonly string[] = ['web'],
): void {
  const machines = ['web', 'db'].map((name) => fakeMachine(name, having.includes(name) ? { deployment } : {}))
  ops.nix.network = fakeNetwork(machines, {
    hydra: { url: hydra.model.url, project: 'infra', jobset: 'main', ...more },
  })
}

const run = (wish: Partial<HydraWish> = {}, request: Partial<DeployRequest> = {}) =>
  deploy(ops, { ...standardRequest, ...request, fromHydra: { ...plain, ...wish } })

const deployedOn = async (machine: string) => record(await ops.store.resolve('net'), machine)
const record = (deployment: DeploymentRecord, machine: string) =>
  deployment.machines[MachineName.parse(machine)]?.deployed

async function refusal(promise: Promise<unknown>): Promise<OpsError> {
  const error = await promise.catch((thrown: unknown) => thrown)
  if (!(error instanceof OpsError)) throw new Error(`expected a refusal, got ${String(error)}`)
  return error
}

const started = () => ops.ssh.execs.filter(({ what }) => what === 'start the activation').length

describe('a deploy from a Hydra', () => {
  it('puts the newest green evaluation on all machines, and this host evaluates no closure, builds and copies nothing', async () => {
    const report = await run()
    expect(report.results.map(({ outcome }) => outcome)).toEqual(['changed', 'changed'])
    // The shape of the network is evaluated again once the new machines have addresses.
    expect(ops.nix.evaluations.map(({ mode }) => mode)).toEqual(['shape', 'shape'])
    expect(ops.nix.builds).toEqual([])
    expect(ops.nix.copies).toEqual([])
    expect(ops.nix.roots).toEqual([])
    expect(ops.nix.fetches.map(({ where, path }) => [where, path]).sort()).toEqual([
      ['db', pathOf('db', 981)],
      ['web', pathOf('web', 980)],
    ])
    expect((await deployedOn('web'))?.path).toBe(pathOf('web', 980))
  })

  it('records where the closure came from', async () => {
    await run()
    expect((await deployedOn('db'))?.hydra).toEqual({
      url: hydra.model.url,
      project: 'infra',
      jobset: 'main',
      evaluation: 98,
      build: 981,
      job: 'db',
      inputs: { network: '98'.padStart(40, 'a') },
      evaluatedAt: expect.stringMatching(/^\d{4}-/),
    })
  })

  it('plans the evaluation, its age, its inputs, the link to the build, and what runs now', async () => {
    await run({ which: { kind: 'evaluation', id: 97 } })
    const { plan } = await run({}, { dryRun: true })
    const items = plan.machines.find(({ machine }) => machine === 'web')?.items
    expect(items).toContainEqual({
      subject: 'closure',
      action: 'fetch',
      detail: '3 paths, 2.9 MiB, by the machine itself',
      note: pathOf('web', 980),
    })
    expect(items).toContainEqual({
      subject: 'hydra',
      action: 'activate',
      detail: `evaluation 98 of infra:main, 2 days old, network aaaaaaaaaaaa · ${hydra.model.url}/build/980`,
      note: 'runs evaluation 97 of infra:main, network aaaaaaaaaaaa',
    })
    expect(ops.emitted).toContainEqual({
      kind: 'notice',
      text: `a newer evaluation is passed over: ${hydra.model.url}/eval/99: build 992: a dependency failed`,
    })
  })

  it('gives a new machine the names of the others before it fetches, and leaves that to the closure later', async () => {
    const named = () => ops.ssh.execs.filter(({ what }) => what === 'write the names of the other machines')
    await run({ which: { kind: 'evaluation', id: 97 } })
    expect(
      named()
        .map(({ machine }) => machine)
        .sort(),
    ).toEqual(['db', 'web'])
    const { machines } = await ops.store.resolve('net')
    const address = (name: string) =>
      FakeAllocation.parse(machines[MachineName.parse(name)]?.allocation).address
    for (const { values } of named())
      expect(linesOf(values.hosts).sort()).toEqual(
        ['db', 'web'].map((name) => `${address(name)} ${name}`).sort(),
      )
    await run()
    expect(named()).toHaveLength(2)
  })

  it('does not ask a machine for a cache of the LAN before the machine has the names', async () => {
    await run({}, { until: 'create' })
    for (const machine of ['web', 'db']) ops.nix.caches.delete(machine)
    ops.ssh.answer('write the names of the other machines', ({ machine }) => {
      ops.nix.caches.set(machine, 'ok')
      return succeed()
    })
    const { results } = await run()
    expect(results.map(({ outcome }) => outcome)).toEqual(['changed', 'changed'])
    expect(ops.nix.copies).toEqual([])
  })

  it('changes nothing the second time', async () => {
    await run()
    const before = started()
    const report = await run()
    expect(report.plan.machines.every(({ items }) => items.length === 0)).toBe(true)
    expect(report.results.map(({ outcome }) => outcome)).toEqual(['unchanged', 'unchanged'])
    expect(started()).toBe(before)
  })

  it('brings through this host what a machine cannot fetch', async () => {
    ops.nix.caches.delete('web')
    ops.nix.caches.set('operator', 'ok')
    await run()
    expect(ops.nix.copies).toEqual([{ machine: 'web', path: pathOf('web', 980) }])
    expect(ops.nix.fetches.map(({ where }) => where).sort()).toEqual(['db', 'operator'])
    expect(ops.logged.map(({ line }) => line)).toContain(
      `the machine cannot fetch ${pathOf('web', 980)}: no cache has the path; this host fetches and copies the path`,
    )
    // This host now has the closure, and protects it with a GC root.
    expect(ops.nix.roots.map(({ name }) => name)).toContain('web')
  })

  it('does not look for caches again that a due set-up of Nix is about to change', async () => {
    await run({ which: { kind: 'evaluation', id: 97 } })
    ops.nix.caches.delete('web')
    const nix = fakeTask('nix', {
      stage: 'bootstrap',
      apply: async () => {
        ops.nix.caches.set('web', 'ok')
        return {}
      },
    })
    ops.tasks = async () => [nix]
    await run()
    expect(ops.nix.fetches.map(({ where, path }) => [where, path])).toContainEqual([
      'web',
      pathOf('web', 980),
    ])
    expect(ops.nix.copies).toEqual([])
  })

  it('takes the place from the flag, with its job as the gate, before the one of the network', async () => {
    useNetwork({ url: 'http://127.0.0.1:1', jobset: 'other', gate: 'nope' })
    const source = { url: hydra.model.url, project: 'infra', jobset: 'main', job: 'release' }
    await run({ source })
    expect((await deployedOn('web'))?.hydra?.evaluation).toBe(98)
  })

  describe('with another gate than the default', () => {
    const gated = (id: number, tests: number): ModelEvaluation => ({
      ...evaluation(id, 1),
      jobs: { ...evaluation(id, 1).jobs, tests: { id: id * 10 + 3, parts: ['web', 'db'], status: tests } },
    })
    beforeEach(() => {
      hydra.model.evaluations = [gated(99, 1), gated(98, 0)]
    })

    it('takes the gate of the network', async () => {
      useNetwork({ gate: 'tests' })
      await run()
      expect((await deployedOn('web'))?.hydra?.evaluation).toBe(98)
    })

    it('takes the gate of the machines before the one of the network', async () => {
      useNetwork({ gate: 'nope' }, { hydraSource: { gate: 'tests' } }, ['web', 'db'])
      await run()
      expect((await deployedOn('db'))?.hydra?.evaluation).toBe(98)
    })
  })

  it('takes jobset and gate from the flag --job, and refuses a job that Hydra lacks', async () => {
    useNetwork({ jobset: 'other', gate: 'nope' }, { hydraSource: { gate: 'nope' } })
    const job = { project: 'infra', jobset: 'main', job: 'release' }
    expect((await refusal(run({ job: { ...job, job: 'nope' } }))).message).toContain("has no job 'nope'")
    expect(started()).toBe(0)
    await run({ job })
    expect((await deployedOn('web'))?.hydra?.evaluation).toBe(98)
  })

  it('takes the job of a machine from its option', async () => {
    useNetwork({}, { hydraSource: { job: 'db' } })
    await run()
    expect((await deployedOn('web'))?.path).toBe(pathOf('db', 981))
  })

  it('goes back to an older evaluation only when that is allowed', async () => {
    await run()
    const error = await refusal(run({ which: { kind: 'evaluation', id: 97 } }))
    expect(error.message).toContain(
      "machine 'web' runs evaluation 98 of infra:main, which is newer than evaluation 97",
    )
    expect(error.hint).toMatch(/^--allow-older deploys the older evaluation; hydra-ops rollback brings back/)
    expect((await deployedOn('web'))?.hydra?.evaluation).toBe(98)
    await run({ which: { kind: 'evaluation', id: 97 }, allowOlder: true })
    expect((await deployedOn('web'))?.hydra?.evaluation).toBe(97)
  })

  it('refuses an older evaluation even of the same closure’s later evaluation', async () => {
    const same = (id: number): ModelEvaluation => ({
      ...evaluation(id),
      jobs: { ...evaluation(97).jobs, release: { id: id * 10 + 2, status: 0, parts: ['web', 'db'] } },
    })
    hydra.model.evaluations = [same(98), evaluation(97)]
    await run({ which: { kind: 'evaluation', id: 97 } })
    await run()
    expect((await deployedOn('web'))?.hydra?.evaluation).toBe(98)
    hydra.model.evaluations = [evaluation(96)]
    expect((await refusal(run())).code).toBe('HYDRA_OLDER')
  })
})

describe('a deploy from a Hydra changes nothing', () => {
  beforeEach(async () => {
    await run({ which: { kind: 'evaluation', id: 97 } })
  })

  afterEach(async () => {
    expect((await deployedOn('web'))?.path).toBe(pathOf('web', 970))
    expect(started()).toBe(2)
  })

  it('when the gate is red everywhere', async () => {
    hydra.model.evaluations = [evaluation(99, 2)]
    expect((await refusal(run())).message).toContain("has a green gate 'release'")
  })

  it.each<[FetchProblem['kind'], string, string]>([
    ['absent', 'no cache has the path', 'deployment.nix.substituters'],
    ['unreachable', 'a cache does not answer', 'check that the cache runs'],
    ['full', 'no space is left', 'collect garbage (nix-store --gc)'],
    ['other', 'the fetch failed', 'read the messages of Nix'],
  ])(
    'when a machine cannot fetch (%s), and no cache of this host has the path',
    async (kind, words, hint) => {
      ops.nix.caches.clear()
      for (const machine of ['web', 'db']) ops.nix.caches.set(machine, { kind, detail: 'Nix says no' })
      expect(await refusal(run())).toMatchObject({
        message: expect.stringContaining(
          `machine 'web' cannot fetch ${pathOf('web', 980)} (${words}), and this host cannot either (no cache has the path)`,
        ),
        hint: expect.stringContaining(hint),
        detail: expect.stringContaining('on the machine:\nNix says no\non this host:\n'),
      })
    },
  )

  it('when Hydra is down', async () => {
    await hydra.close()
    expect((await refusal(run())).message).toMatch(/^Hydra at http:.* does not answer .*ECONNREFUSED/)
  })

  it('when a machine is not a job of the evaluation', async () => {
    useNetwork({}, { hydraSource: { job: 'wbe' } })
    const error = await refusal(run())
    expect(error.message).toContain(
      "machine 'web': its job 'wbe' is not among the jobs of build 982 ('release')",
    )
  })

  it('when a result of Hydra lies in another store', async () => {
    const [, green] = hydra.model.evaluations
    if (green === undefined) throw new Error('there is no green evaluation')
    const jobs = { ...green.jobs, web: { id: 980, status: 0, path: '/store/x' } }
    hydra.model.evaluations = [{ ...green, jobs }]
    expect((await refusal(run())).message).toBe(
      `machine 'web': build 980 at ${hydra.model.url} has the result /store/x, which is not a path of /nix/store`,
    )
  })

  it('when this host must have the closure for the check of a machine, and cannot fetch it', async () => {
    const { results } = await run({}, { check: true })
    expect(results.map(({ outcome, stage }) => [outcome, stage])).toEqual([
      ['failed', 'copy'],
      ['failed', 'copy'],
    ])
    const reason = `this host cannot fetch ${pathOf('web', 980)}: no cache has the path`
    expect(results.find(({ machine }) => machine === 'web')?.reason).toContain(reason)
  })

  it('when two machines come from two jobsets', async () => {
    useNetwork({}, { hydraSource: { jobset: 'staging' } })
    expect(await refusal(run())).toMatchObject({
      message: expect.stringContaining("machines 'web' and 'db' come from different places"),
      hint: expect.stringContaining('select the machines of one place with --include'),
    })
  })

  it('when nothing says which Hydra', async () => {
    ops.nix.network = fakeNetwork([fakeMachine('web'), fakeMachine('db')])
    const error = await refusal(run())
    expect(error.message).toBe("machine 'web': no option says which Hydra builds it (url)")
    expect(error.hint).toMatch(/^set network\.hydra = .* or use --from-hydra URL\/job\/PROJECT\/JOBSET$/)
    expect(error.exitCode).toBe(2)
  })

  it('when a closure is named as well', async () => {
    const closures = new Map([[MachineName.parse('web'), (await deployedOn('web'))?.path]])
    const given = new Map(
      [...closures].flatMap(([name, path]) => (path === undefined ? [] : [[name, path] as const])),
    )
    expect((await refusal(run({}, { closures: given }))).message).toBe(
      '--closure and --from-hydra cannot be combined',
    )
  })
})

describe('an unsigned path', () => {
  beforeEach(async () => {
    await run({ which: { kind: 'evaluation', id: 97 } })
    ops.nix.caches.set('web', unsigned).set('operator', unsigned)
  })

  it('changes nothing on the machine that gets it, and the other machine is deployed', async () => {
    const report = await run()
    expect(report.results.find(({ machine }) => machine === 'web')).toMatchObject({
      outcome: 'failed',
      stage: 'copy',
      reason: expect.stringContaining('(the path is not signed by a trusted key)'),
    })
    expect((await deployedOn('web'))?.path).toBe(pathOf('web', 970))
    expect((await deployedOn('db'))?.path).toBe(pathOf('db', 981))
    expect(started()).toBe(3)
  })

  it('is taken when that is allowed', async () => {
    await run({ allowUnsigned: true })
    expect(ops.nix.fetches).toContainEqual({ where: 'web', path: pathOf('web', 980), allowUnsigned: true })
    expect((await deployedOn('web'))?.path).toBe(pathOf('web', 980))
  })

  it('may come through this host, if this host trusts its key', async () => {
    ops.nix.caches.set('operator', 'ok')
    await run()
    expect(ops.nix.copies).toEqual([{ machine: 'web', path: pathOf('web', 980) }])
  })
})
