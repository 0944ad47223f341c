import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { WhyPlace } from '../../src/core/build-why.js'
import { MachineName } from '../../src/core/names.js'
import { deploy } from '../../src/deploy/deploy.js'
import { buildersWhy, reportedBuilders } from '../../src/operations/builders-why.js'
import { whyView } from '../../src/ui/builders-view.js'
import { createStyle } from '../../src/ui/style.js'
import { b1Offer } from '../fakes/builder-peers.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { fakeTask } from '../fakes/fake-task.js'
import { serveHydra } from '../fakes/served-hydra.js'
import { standardRequest } from '../fakes/standard-request.js'

const derivation = '/nix/store/00000000000000000000000000000000-x.drv'
const answer = {
  where: "machine 'ci'",
  derivation,
  system: 'x86_64-linux',
  features: ['gpu'],
  kind: 'feature',
  hindered: true,
  cause: 'no builder of x86_64-linux offers the feature gpu',
  line: '/etc/hydra/builders:2: b1 x86_64-linux',
  remedy: 'add gpu',
  also: ['builder b2: it is off'],
}

let ops: FakeOps
let asked: WhyPlace[]
/** The names of machines that have a list of builders. */
let users: string[]

beforeEach(async () => {
  users = ['ci']
  asked = []
  ops = await createFakeOps({ network: fakeNetwork(['b1', 'ci', 'web'].map((name) => fakeMachine(name))) })
  runFakeDebian(ops)
  Object.assign(ops, {
    tasks: async () => [
      fakeTask('builder', {
        stage: 'offer',
        wanted: ({ definition }) => (definition.name === 'b1' ? {} : undefined),
        apply: async () => ({ user: 'nix-builder', for: 'ci', entry: b1Offer }),
      }),
      fakeTask('builders', {
        stage: 'use',
        wanted: ({ definition }) => (users.includes(definition.name) ? {} : undefined),
        apply: async () => ({ builders: 'b1' }),
      }),
    ],
    whyNotBuilt: async (place: WhyPlace) => {
      asked.push(place)
      return answer
    },
  })
  await rememberNetwork(ops)
})
afterEach(() => ops.cleanup())

/** Deploys, and records that `ci` also runs a Hydra at the URL. */
async function withHydra(url: string): Promise<void> {
  await deploy(ops, standardRequest)
  const { uuid } = await ops.store.resolve('net')
  await ops.store.lock(uuid, (held) =>
    held.updateMachine(MachineName.parse('ci'), (draft) => {
      draft.tasks.hydra = { inputs: 'none', outputs: { url }, at: ops.now().toISOString() }
    }),
  )
  ops.emitted.length = 0
}

const request = { deployment: undefined, machine: undefined, here: false, derivation }

describe('the question why a derivation is not built', () => {
  it('goes to the only machine with builders, which knows the builders of the deployment', async () => {
    await deploy(ops, standardRequest)
    expect(await buildersWhy(ops, request)).toEqual(answer)
    expect(asked).toMatchObject([
      { where: "machine 'ci'", decider: 'daemon', store: 'daemon', file: derivation, root: true },
    ])
    expect(asked[0]?.ours).toMatchObject([{ machine: 'b1', user: 'nix-builder', host: 'b1', port: 22 }])
  })

  it('goes to the queue runner of a Hydra, with its report about the builders, if Hydra answers', async () => {
    const hydra = await serveHydra([])
    const at = () => ops.emitted.flatMap((event) => (event.kind === 'notice' ? [event.text] : []))
    try {
      await withHydra(hydra.model.url)
      const builder = { systemTypes: ['x86_64-linux'], supportedFeatures: [], mandatoryFeatures: [] }
      const disabledUntil = ops.now().getTime() / 1000 + 90
      const machines = { b1: { ...builder, currentJobs: 2, disabledUntil, consecutiveFailures: 3 } }
      hydra.model.pages.set('/queue-runner-status', { body: { status: 'up', machineTypes: {}, machines } })
      expect(await buildersWhy(ops, request)).toEqual(answer)
      expect(asked).toMatchObject([{ decider: 'queue runner', where: "machine 'ci'" }])
      expect(asked[0]?.reported.get('b1')).toEqual({ currentJobs: 2, disabledFor: 90, failures: 3 })
      expect(at()).toEqual([])
    } finally {
      await hydra.close()
    }
    expect(await buildersWhy(ops, request)).toEqual(answer)
    expect(asked[1]?.reported).toEqual(new Map())
    expect(at()).toEqual([
      expect.stringMatching(
        /^Hydra does not report its busy and disabled builders: Hydra at .* does not answer/,
      ),
    ])
  })

  it('needs the name of a machine where several have builders, or none', async () => {
    await deploy(ops, standardRequest)
    users = ['ci', 'web']
    await deploy(ops, standardRequest)
    await expect(buildersWhy(ops, request)).rejects.toMatchObject({
      exitCode: 2,
      message: 'several machines have builders',
      hint: 'select one with --machine NAME (ci, web)',
    })
    await buildersWhy(ops, { ...request, machine: 'web' })
    expect(asked.map(({ where }) => where)).toEqual(["machine 'web'"])
  })

  it('says how to ask where no machine has builders', async () => {
    users = []
    await deploy(ops, standardRequest)
    await expect(buildersWhy(ops, request)).rejects.toMatchObject({
      code: 'NO_BUILDERS',
      message: 'no machine of the deployment has a Hydra or a builder yet',
      hint: 'name a machine with --machine NAME, or ask about this host with --here',
    })
  })

  it('refuses an unknown machine, a path that is not a derivation, and two places at once', async () => {
    await deploy(ops, standardRequest)
    await expect(buildersWhy(ops, { ...request, machine: 'wev' })).rejects.toMatchObject({
      exitCode: 2,
      message: "the deployment has no machine 'wev'",
      hint: "did you mean 'web'?",
    })
    await expect(buildersWhy(ops, { ...request, machine: 'elsewhere' })).rejects.toMatchObject({
      hint: 'the machines are: b1, ci, web',
    })
    for (const wrong of ['x', derivation.slice(0, -4), `${derivation.slice(0, -4)} .drv`])
      await expect(buildersWhy(ops, { ...request, derivation: wrong })).rejects.toMatchObject({
        exitCode: 2,
        message: expect.stringContaining('expected the path of a derivation'),
      })
    await expect(buildersWhy(ops, { ...request, machine: 'ci', here: true })).rejects.toMatchObject({
      exitCode: 2,
      message: '--here and --machine cannot be combined',
    })
    expect(asked).toEqual([])
  })

  it.each([
    ['daemon', 'daemon'],
    ['local', 'user'],
    ['/home/alice/state/nix', 'user'],
  ])('is about this host with --here; its store %s means a %s', async (remote, decider) => {
    Object.assign(ops, {
      nix: {
        ...ops.nix,
        describeStore: async () => ({ remote, why: '' }),
        folderOf: async (path: string) => `/real${path}`,
      },
    })
    await buildersWhy(ops, { ...request, here: true })
    expect(asked).toMatchObject([
      { where: 'this host', decider, root: false, store: remote, file: `/real${derivation}` },
    ])
    expect(ops.ssh.connects).toEqual([])
  })

  it("refuses a derivation that the host's store lacks", async () => {
    Object.assign(ops, {
      nix: {
        ...ops.nix,
        describeStore: async () => ({ remote: 'daemon', why: '' }),
        folderOf: async () => undefined,
      },
    })
    await expect(buildersWhy(ops, { ...request, here: true })).rejects.toMatchObject({
      code: 'NO_DERIVATION',
      message: `the Nix store of this host has no ${derivation}`,
      hint: expect.stringContaining('create the derivation with nix-instantiate'),
    })
  })
})

it('reports the remaining time of a builder that a queue runner disabled', () => {
  const machine = { systemTypes: [], supportedFeatures: [], mandatoryFeatures: [] }
  const status = {
    status: 'up',
    machineTypes: {},
    machines: {
      b1: { ...machine, currentJobs: 2, disabledUntil: 1_100.5, consecutiveFailures: 3 },
      b2: { ...machine, disabledUntil: 900 },
    },
  }
  const reported = reportedBuilders(status, new Date(1_000_000))
  expect(reported.get('b1')).toEqual({ currentJobs: 2, disabledFor: 101, failures: 3 })
  expect(reported.get('b2')).toEqual({ currentJobs: 0, disabledFor: 0, failures: 0 })
})

it('shows the demands, one cause with its line and remedy, and other faults', () => {
  expect(whyView(answer, createStyle(false)).split('\n')).toEqual([
    `${derivation} requires x86_64-linux with gpu`,
    "machine 'ci': no builder of x86_64-linux offers the feature gpu",
    '  line: /etc/hydra/builders:2: b1 x86_64-linux',
    '  remedy: add gpu',
    '  also: builder b2: it is off',
  ])
  const detailed = { ...answer, detail: 'ssh: a strange word\nerror: it failed', also: [] }
  expect(whyView(detailed, createStyle(false)).split('\n').slice(2)).toEqual([
    '  line: /etc/hydra/builders:2: b1 x86_64-linux',
    '  Nix says:',
    '    ssh: a strange word',
    '    error: it failed',
    '  remedy: add gpu',
  ])
  const hostile = whyView({ ...answer, cause: 'a\u001b[2Jb' }, createStyle(false))
  expect(hostile).not.toContain('\u001b')
  const said = whyView({ ...answer, detail: 'a\u001b[2Jb' }, createStyle(false))
  expect(said).not.toContain('\u001b')
})
