import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { failure } from '../../src/core/errors.js'
import { deploy } from '../../src/deploy/deploy.js'
import {
  drainBuilder,
  listBuilders,
  listRunning,
  resumeBuilder,
  testBuilders,
} from '../../src/operations/builders.js'
import { buildersView } from '../../src/ui/builders-view.js'
import { createStyle } from '../../src/ui/style.js'
import { b1Offer } from '../fakes/builder-peers.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { exit, succeed } from '../fakes/fake-ssh.js'
import { fakeTask } from '../fakes/fake-task.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps
/** Drain marks on `ci`. `listed` has the marks that its list of builders reflects. */
let marked: Set<string>
let listed: string
let proved: number
let broken: boolean
/** Numbers of builds that run on `b1`, one for each look; the last one stays. */
let serving: number[]

beforeEach(async () => {
  marked = new Set()
  listed = 'nothing'
  proved = 0
  broken = false
  serving = [0]
  ops = await createFakeOps({ network: fakeNetwork(['b1', 'ci', 'web'].map((name) => fakeMachine(name))) })
  runFakeDebian(ops)
  Object.assign(ops, {
    tasks: async () => [
      fakeTask('builder', {
        stage: 'offer',
        wanted: ({ definition }) => (definition.name === 'b1' ? {} : undefined),
        probe: async () => 'done',
        apply: async () => ({ user: 'nix-builder', for: 'ci', entry: b1Offer }),
      }),
      fakeTask('builders', {
        stage: 'use',
        wanted: ({ definition }) => (definition.name === 'ci' ? {} : undefined),
        probe: async () => (listed === [...marked].join() ? 'done' : { drifted: 'the list differs' }),
        apply: async () => {
          listed = [...marked].join()
          return { builders: 'b1', drained: listed }
        },
        verify: async () => {
          if (broken) throw failure('BUILDER_LOGIN', 'nobody answers')
          if (!marked.has('b1')) proved += 1
        },
      }),
    ],
  })
  ops.ssh.answer("mark builder 'b1'", ({ values, machine }) => {
    expect(machine).toBe('ci')
    if (values.drains === 'true') marked.add(values.name ?? '')
    else marked.delete(values.name ?? '')
    return succeed()
  })
  ops.ssh.answer('count the running builds', ({ values, machine }) => {
    expect([machine, values.user]).toEqual(['b1', 'nix-builder'])
    return succeed(`serving=${serving.length > 1 ? serving.shift() : serving[0]}\n`)
  })
  await rememberNetwork(ops)
  await deploy(ops, standardRequest)
})
afterEach(() => ops.cleanup())

const request = { deployment: undefined, maxConcurrent: 4 }
const drain = (more: { deadlineMs?: number; idleMs?: number; builder?: string } = {}) =>
  drainBuilder(ops, { ...request, builder: 'b1', deadlineMs: 20_000, idleMs: 0, pauseMs: 1, ...more })
const outcomes = (results: readonly { machine: string; outcome: string }[]) =>
  results.map(({ machine, outcome }) => [machine, outcome])

describe('the builders of a deployment', () => {
  it('are listed with the machines that build there, from the state alone', async () => {
    const before = ops.ssh.connects.length
    const rows = await listBuilders(ops, undefined)
    expect(rows).toEqual([
      {
        builder: 'b1',
        usedBy: 'ci',
        drained: false,
        user: 'nix-builder',
        host: 'b1',
        port: 22,
        systems: ['x86_64-linux'],
        maxJobs: 4,
        speedFactor: 1,
        supportedFeatures: ['big-parallel', 'kvm'],
        mandatoryFeatures: [],
      },
    ])
    expect(ops.ssh.connects).toHaveLength(before)
    const table = buildersView(rows, { style: createStyle(false), plain: true })
    expect(table).toMatch(/b1\s+ci\s+in use\s+b1\s+x86_64-linux\s+4\s+big-parallel, kvm/)
  })

  it('show how many builds run there and for how long, and a build that is too old counts as frozen', async () => {
    ops.ssh.answer('count the builds on the builders', ({ machine, values }) => {
      expect([machine, values.logins]).toEqual(['ci', 'nix-builder@b1'])
      return succeed('step=120 nix-builder@b1\nstep=7200 nix-builder@b1\nstep=9 nix-builder@b10\n')
    })
    const look = (hours: number) =>
      listRunning(ops, { deployment: undefined, frozenAfterMs: hours * 3_600_000 })
    const view = async (hours: number) =>
      buildersView(await look(hours), { style: createStyle(false), plain: true })
    expect(await look(3)).toMatchObject([{ steps: { count: 2, oldest: 7200, frozen: false } }])
    expect(await view(3)).toMatch(/in use.*2, the oldest for 2 hours$/m)
    expect(await look(2)).toMatchObject([{ steps: { frozen: true } }])
    expect(await view(2)).toMatch(/frozen\?.*2, the oldest for 2 hours$/m)
    ops.ssh.answer('count the builds on the builders', succeed())
    expect(await view(2)).toMatch(/in use.*none$/m)
  })

  it('are still listed if the machine that builds there cannot tell', async () => {
    ops.ssh.answer('count the builds on the builders', exit(127, 'ps: not found'))
    const rows = await listRunning(ops, { deployment: undefined, frozenAfterMs: 1 })
    expect(rows).toMatchObject([{ builder: 'b1', drained: false }])
    expect(rows[0]).not.toHaveProperty('steps')
    expect(buildersView(rows, { style: createStyle(false), plain: true })).toMatch(/in use.*\?$/m)
    expect(ops.emitted).toContainEqual({
      kind: 'notice',
      text: expect.stringContaining("machine 'ci' cannot report what its builders are doing: "),
    })
  })

  it('are tested from the machines that build there, and from no other', async () => {
    const before = proved
    expect(outcomes(await testBuilders(ops, request))).toEqual([['ci', 'unchanged']])
    expect(proved).toBe(before + 1)
    broken = true
    expect(await testBuilders(ops, { ...request, builder: 'b1' })).toMatchObject([
      { machine: 'ci', outcome: 'failed', reason: expect.stringContaining('nobody answers') },
    ])
  })

  it('hold no other name, and the intended one is in the hint', async () => {
    await expect(drain({ builder: 'b2' })).rejects.toMatchObject({
      exitCode: 2,
      message: "machine 'b2' is not a builder of the deployment",
      hint: "did you mean 'b1'?",
    })
    await expect(testBuilders(ops, { ...request, builder: 'web' })).rejects.toMatchObject({
      exitCode: 2,
      hint: 'the builders are: b1',
    })
  })
})

describe('a drained builder', () => {
  it('gets no new builds, and the command waits for those that run', async () => {
    serving = [2, 1, 0]
    expect(outcomes(await drain())).toEqual([['ci', 'changed']])
    expect(listed).toBe('b1')
    expect((await listBuilders(ops, undefined)).map(({ drained }) => drained)).toEqual([true])
    const lines = ops.emitted.flatMap((event) => (event.kind === 'line' ? [event.line] : []))
    expect(lines.filter((line) => line.includes('builder is idle'))).toEqual([
      'waiting until the builder is idle: 2 builds run',
      'waiting until the builder is idle: 1 build runs',
    ])
  })

  it('is idle only after the time in which a queue runner may still begin a build', async () => {
    await expect(drain({ deadlineMs: 50, idleMs: 60_000 })).rejects.toMatchObject({
      code: 'BUILDER_BUSY',
      message: expect.stringContaining('no build runs, but the lists of builders may not have been read'),
    })
  })

  it('stays drained if its builds do not end in time, and the error says what to do', async () => {
    serving = [1]
    await expect(drain({ deadlineMs: 50 })).rejects.toMatchObject({
      code: 'BUILDER_BUSY',
      message: expect.stringContaining('1 build runs'),
      hint: "builder 'b1' gets no new builds; run hydra-ops builders drain b1 again, or hydra-ops builders resume b1",
    })
    expect(listed).toBe('b1')
  })

  it('stays drained through a deploy', async () => {
    await drain()
    await deploy(ops, standardRequest)
    expect(listed).toBe('b1')
  })

  it('is proved before it counts as in use again', async () => {
    await drain()
    const before = proved
    expect(outcomes(await resumeBuilder(ops, { ...request, builder: 'b1' }))).toEqual([['ci', 'changed']])
    expect(proved).toBe(before + 1)
    expect((await listBuilders(ops, undefined)).map(({ drained }) => drained)).toEqual([false])
  })
})

it('a deployment without builders says how to get one', async () => {
  const empty = await createFakeOps({ network: fakeNetwork([fakeMachine('web')]) })
  await rememberNetwork(empty)
  expect(await listBuilders(empty, undefined)).toEqual([])
  await expect(testBuilders(empty, request)).rejects.toMatchObject({
    code: 'NO_BUILDERS',
    message: 'no machine of the deployment builds for another machine yet',
    hint: 'set deployment.builder on a machine, then run hydra-ops deploy',
  })
  empty.cleanup()
})
