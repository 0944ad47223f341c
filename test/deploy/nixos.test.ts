import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { NixosMachine } from '../../src/core/definition.js'
import { failure } from '../../src/core/errors.js'
import { deploy } from '../../src/deploy/deploy.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { deploymentInfo } from '../../src/operations/info.js'
import { sendKeys } from '../../src/operations/send-keys.js'
import { fakeNetwork, fakeStorePath } from '../fakes/fake-network.js'
import { type FakeFleet, runFakeFleet } from '../fakes/fake-nixos-fleet.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { exit, succeed } from '../fakes/fake-ssh.js'
import { fakeTask } from '../fakes/fake-task.js'
import { nixosDefinition } from '../fakes/nixos-definition.js'
import { standardRequest } from '../fakes/standard-request.js'

const initial = fakeStorePath('nixos-system-image')
const check = { cmd: [{ cmd: ['true'], description: 'the page', period: 0.001, total: 0.001, timeout: 1 }] }
const v1 = nixosDefinition('web', { deployment: { healthChecks: check } })
const v2 = nixosDefinition('web', { version: 'v2', deployment: { healthChecks: check } })
const [first, second] = [v1.outPath ?? '', v2.outPath ?? '']

let ops: FakeOps
let fleet: FakeFleet
beforeEach(async () => {
  ops = await createFakeOps({ network: fakeNetwork([v1]) })
  fleet = runFakeFleet(ops, initial)
  ops.ssh.answer('the page', succeed())
  await rememberNetwork(ops)
})
afterEach(() => ops.cleanup())

const run = async (request: Partial<DeployRequest> = {}) =>
  (await deploy(ops, { ...standardRequest, ...request })).results
const record = async () => (await ops.store.resolve('net')).machines[v1.name]
const wanted = (...machines: NixosMachine[]) => {
  ops.nix.network = fakeNetwork(machines)
}

describe('a deploy of a NixOS machine', () => {
  it('makes the system run, judges it, and then makes it the boot default', async () => {
    expect(await run()).toMatchObject([{ machine: 'web', outcome: 'changed' }])
    expect(fleet.events).toEqual([`web test ${first}`, `web keep ${first}`])
    const order = ops.ssh.execs.map(({ what }) => what)
    expect(order.indexOf('the page')).toBeGreaterThan(order.indexOf('confirm the new system'))
    expect(order.indexOf('the page')).toBeLessThan(order.indexOf('make the new system the boot default'))
    expect(await record()).toMatchObject({ deployed: { path: first }, lastResult: 'changed' })
    expect((await record())?.activation).toBeUndefined()
  })

  it('contacts an unchanged machine once, and writes nothing there', async () => {
    wanted(nixosDefinition('web'))
    await run()
    await run()
    const known = await record()
    ops.ssh.connects.length = 0
    ops.ssh.commands.length = 0
    const machine = JSON.stringify(fleet.machine('web'))
    expect(await run()).toMatchObject([{ outcome: 'unchanged' }])
    expect(ops.ssh.connects).toEqual(['web'])
    expect(ops.ssh.commands).toHaveLength(1)
    expect(JSON.stringify(fleet.machine('web'))).toBe(machine)
    expect(await record()).toEqual(known)
  })

  it('has the system in info as current', async () => {
    await run()
    const flags = { deployment: 'net', all: false, evaluate: true, probe: false, nix: standardRequest.nix }
    const [info] = await deploymentInfo(ops, flags)
    expect(info?.machines.map(({ name, currency }) => [name, currency])).toEqual([['web', 'up-to-date']])
  })

  it('sends a new key to an unchanged machine, and switches nothing', async () => {
    await run()
    fleet.events.length = 0
    ops.ssh.execs.length = 0
    ops.ssh.answer('compare keys', succeed('- - - 0:0 open none\n'))
    const others = [
      'deliver keys',
      'start the units of keys',
      'give users access to the folders of their keys',
    ]
    for (const what of ['mount the destination of keys', ...others]) ops.ssh.answer(what, succeed())
    wanted(nixosDefinition('web', { deployment: { healthChecks: check, keys: { db: { text: 'secret' } } } }))
    expect(await run()).toMatchObject([{ machine: 'web', outcome: 'changed' }])
    expect(ops.ssh.execs.filter(({ what }) => what === 'deliver keys')).not.toEqual([])
    expect(fleet.events).toEqual([])
  })

  it('lets send-keys look at the machine', async () => {
    await run()
    const request = { deployment: 'net', selection: {}, maxConcurrent: 1 }
    expect(await sendKeys(ops, request)).toMatchObject([{ outcome: 'unchanged' }])
  })

  it('refuses a machine that runs another kind of system', async () => {
    ops.ssh.answer(
      'read the facts of the machine',
      succeed('boot_id=b\nsystems=debian\nfree_kib=1\nos=Debian'),
    )
    expect(await run()).toMatchObject([
      { outcome: 'failed', reason: expect.stringContaining('not NixOS; it was not touched') },
    ])
    expect(fleet.events).toEqual([])
  })

  it('keeps the old system if no login to the new one succeeds', async () => {
    await run()
    wanted(v2)
    fleet.behave(second, { locksOut: true })
    expect(await run()).toMatchObject([
      {
        outcome: 'failed',
        stage: 'activate',
        reason: expect.stringContaining('went back to its old system'),
      },
    ])
    expect(fleet.machine('web')).toMatchObject({
      current: first,
      bootDefault: first,
      generations: [initial, first],
    })
    expect(await record()).toMatchObject({ deployed: { path: first }, lastResult: 'failed' })
  })
})

describe('a health check that fails after a switch', () => {
  beforeEach(async () => {
    await run()
    wanted(v2)
    ops.ssh.answer('the page', exit(1, 'no page\n'))
  })

  it('leaves the old system the boot default, and the machine is degraded', async () => {
    expect(await run()).toMatchObject([
      {
        outcome: 'degraded',
        stage: 'health',
        reason:
          "machine 'web' runs the new system, but a health check failed: the page; the boot default stays the old one",
        evidence: [expect.stringContaining('no page')],
      },
    ])
    expect(fleet.machine('web')).toMatchObject({ current: second, bootDefault: first, previous: initial })
    expect(await record()).toMatchObject({ deployed: { path: first }, lastResult: 'degraded' })
    expect((await record())?.activation).toBeUndefined()
  })

  it('lets a later deploy make the system the boot default once the check succeeds', async () => {
    await run()
    ops.ssh.answer('the page', succeed())
    const before = fleet.events.length
    expect(await run()).toMatchObject([{ outcome: 'changed' }])
    expect(fleet.events.slice(before)).toEqual([`web keep ${second}`])
    expect(fleet.machine('web')).toMatchObject({ current: second, bootDefault: second, previous: first })
    expect(await record()).toMatchObject({ deployed: { path: second } })
  })

  it('keeps the system with --on-degraded keep, and the machine is still degraded', async () => {
    expect(await run({ onDegraded: 'keep' })).toMatchObject([
      { outcome: 'degraded', reason: expect.stringContaining('it is the boot default too') },
    ])
    expect(fleet.machine('web')).toMatchObject({ current: second, bootDefault: second })
    expect(await record()).toMatchObject({ deployed: { path: second }, lastResult: 'degraded' })
  })

  it('goes back with --on-degraded rollback', async () => {
    expect(await run({ onDegraded: 'rollback' })).toMatchObject([
      {
        outcome: 'failed',
        stage: 'health',
        reason: "machine 'web' went back to its old system: health check failed: the page",
      },
    ])
    expect(fleet.machine('web')).toMatchObject({
      current: first,
      bootDefault: first,
      generations: [initial, first],
    })
    expect(await record()).toMatchObject({ deployed: { path: first } })
  })
})

describe('a degraded system', () => {
  beforeEach(async () => {
    await run()
    wanted(v2)
    fleet.behave(second, { status: 4, samples: ['0 a.service 0 failed exit-code'] })
  })

  it.each([
    ['fail', 'degraded', second, first],
    ['keep', 'degraded', second, second],
    ['rollback', 'failed', first, first],
  ] as const)('with the policy %s ends as %s', async (onDegraded, outcome, current, bootDefault) => {
    expect(await run({ onDegraded })).toMatchObject([{ outcome }])
    expect(fleet.machine('web')).toMatchObject({ current, bootDefault })
    expect((await record())?.activation).toBeUndefined()
  })

  it('does not become the boot default by a second deploy while it is in trouble', async () => {
    await run()
    fleet.machine('web').failed.push('a.service')
    expect(await run()).toMatchObject([{ outcome: 'degraded' }])
    expect(fleet.machine('web')).toMatchObject({ current: second, bootDefault: first })
  })
})

describe('set-up tasks between the switch and the boot default', () => {
  function tasks(apply: () => void): { done: boolean } {
    const state = { done: false }
    const task = fakeTask('users', {
      probe: async () => (state.done ? 'done' : 'needed'),
      apply: async () => {
        apply()
        state.done = true
        return {}
      },
    })
    Object.assign(ops, { tasks: async () => [task] })
    ops.ssh.answer('take the set-up lock of the machine', succeed())
    ops.ssh.answer('release the set-up lock of the machine', succeed())
    return state
  }

  it('run on the new system, while the old one is the boot default', async () => {
    const seen: string[] = []
    tasks(() => seen.push(fleet.machine('web').current, fleet.machine('web').bootDefault))
    expect(await run()).toMatchObject([{ outcome: 'changed' }])
    expect(seen).toEqual([first, initial])
    expect(fleet.machine('web').bootDefault).toBe(first)
  })

  it('that fail leave the old system the boot default, and the next deploy continues', async () => {
    let broken = true
    tasks(() => {
      if (broken) throw failure('TASK', 'out of users')
    })
    expect(await run()).toMatchObject([{ outcome: 'failed', stage: 'setup' }])
    expect(fleet.machine('web')).toMatchObject({ current: first, bootDefault: initial })
    expect((await record())?.activation).toBeUndefined()
    broken = false
    expect(await run()).toMatchObject([{ outcome: 'changed' }])
    expect(fleet.machine('web')).toMatchObject({ bootDefault: first, previous: initial })
  })

  it('have the first old system as the way back, also after a second activation', async () => {
    await run()
    wanted(v2)
    const bad = { samples: ['0 a.service 0 failed exit-code'] }
    fleet.behave(second, bad)
    tasks(() => {})
    expect(await run({ onDegraded: 'rollback' })).toMatchObject([{ outcome: 'failed', stage: 'activate' }])
    expect(fleet.machine('web')).toMatchObject({ current: first, bootDefault: first })
    const switches = fleet.events.filter((event) => event === `web test ${second}`)
    expect(switches).toHaveLength(2)
  })

  it('may fix the units that failed before them', async () => {
    fleet.behave(first, { samples: ['0 a.service 0 failed exit-code'] })
    tasks(() => fleet.behave(first, {}))
    expect(await run()).toMatchObject([{ outcome: 'changed' }])
    expect(fleet.machine('web')).toMatchObject({ current: first, bootDefault: first, previous: initial })
  })
})
