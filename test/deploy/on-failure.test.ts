import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { fakeNetwork, fakeStorePath } from '../fakes/fake-network.js'
import { type FakeFleet, runFakeFleet } from '../fakes/fake-nixos-fleet.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { nixosDefinition } from '../fakes/nixos-definition.js'
import { standardRequest } from '../fakes/standard-request.js'

const initial = fakeStorePath('nixos-system-image')
const names = ['a', 'b', 'c']
const systems = (version: string) => names.map((name) => nixosDefinition(name, { version }))
const pathOf = (name: string, version: string) => nixosDefinition(name, { version }).outPath ?? ''

let ops: FakeOps
let fleet: FakeFleet
beforeEach(async () => {
  ops = await createFakeOps({ network: fakeNetwork(systems('v1')) })
  fleet = runFakeFleet(ops, initial)
  await rememberNetwork(ops)
  await run({})
  ops.nix.network = fakeNetwork(systems('v2'))
})
afterEach(() => ops.cleanup())

/** Deploys one machine after the other. */
const run = async (request: Partial<DeployRequest>) =>
  (await deploy(ops, { ...standardRequest, maxConcurrent: 1, ...request })).results
const runs = () => names.map((name) => fleet.machine(name).current)

describe('the failure of one machine', () => {
  beforeEach(() => fleet.behave(pathOf('b', 'v2'), { locksOut: true }))

  it('lets the others be deployed by default', async () => {
    expect((await run({})).map(({ outcome }) => outcome)).toEqual(['changed', 'failed', 'changed'])
    expect(runs()).toEqual([pathOf('a', 'v2'), pathOf('b', 'v1'), pathOf('c', 'v2')])
  })

  it('keeps the others from beginning with --on-failure stop', async () => {
    expect(await run({ onFailure: 'stop' })).toMatchObject([
      { outcome: 'changed' },
      { outcome: 'failed' },
      { outcome: 'skipped', notBegun: true, reason: 'not started, because b failed (--on-failure)' },
    ])
    expect(runs()).toEqual([pathOf('a', 'v2'), pathOf('b', 'v1'), pathOf('c', 'v1')])
  })

  it('brings back the machines that were switched with --on-failure rollback-all', async () => {
    expect(await run({ onFailure: 'rollback-all' })).toMatchObject([
      {
        outcome: 'failed',
        reason:
          "machine 'a' went back to the system before this deploy, because b failed (--on-failure rollback-all)",
      },
      { outcome: 'failed', reason: expect.stringContaining('went back to its old system') },
      { outcome: 'skipped' },
    ])
    expect(runs()).toEqual(names.map((name) => pathOf(name, 'v1')))
    expect(names.map((name) => fleet.machine(name).bootDefault)).toEqual(runs())
    const { machines } = await ops.store.resolve('net')
    expect(Object.values(machines).map(({ deployed }) => deployed?.path)).toEqual(runs())
  })

  it('brings back a machine that is only degraded, too', async () => {
    fleet.behave(pathOf('a', 'v2'), { samples: ['0 x.service 0 failed exit-code'] })
    const [first] = await run({ onFailure: 'rollback-all' })
    expect(first).toMatchObject({
      outcome: 'failed',
      reason: expect.stringContaining('units failed: x.service'),
    })
    expect(runs()).toEqual(names.map((name) => pathOf(name, 'v1')))
  })

  it('brings back no machine that was not switched by this run', async () => {
    await run({ selection: { on: 'a' } })
    fleet.events.length = 0
    const [first] = await run({ onFailure: 'rollback-all' })
    expect(first).toMatchObject({ machine: 'a', outcome: 'unchanged' })
    expect(fleet.machine('a').current).toBe(pathOf('a', 'v2'))
  })

  it('brings back the others too, if one of them cannot go back', async () => {
    fleet.behave(pathOf('b', 'v2'), {})
    fleet.behave(pathOf('c', 'v2'), { locksOut: true })
    fleet.behave(pathOf('a', 'v1'), { status: 2 })
    expect(await run({ onFailure: 'rollback-all' })).toMatchObject([
      { machine: 'a', outcome: 'failed', reason: expect.stringContaining('was to go back') },
      { machine: 'b', outcome: 'failed', reason: expect.stringContaining('went back to the system before') },
      { machine: 'c', outcome: 'failed' },
    ])
    expect(runs()).toEqual([pathOf('a', 'v2'), pathOf('b', 'v1'), pathOf('c', 'v1')])
  })

  it('reports a machine that could not be brought back', async () => {
    fleet.behave(pathOf('a', 'v1'), { status: 2 })
    const [first] = await run({ onFailure: 'rollback-all' })
    expect(first).toMatchObject({
      outcome: 'failed',
      reason: expect.stringMatching(/was to go back, because b failed, but could not: .*status 2/),
    })
    expect(fleet.machine('a').current).toBe(pathOf('a', 'v2'))
  })
})
