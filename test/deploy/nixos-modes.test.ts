import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { fakeMachine, fakeNetwork, fakeStorePath } from '../fakes/fake-network.js'
import { type FakeFleet, type FleetMachine, runFakeFleet } from '../fakes/fake-nixos-fleet.js'
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
let tasks: string[]
beforeEach(async () => {
  ops = await createFakeOps({ network: fakeNetwork([v1]) })
  fleet = runFakeFleet(ops, initial)
  for (const what of [
    'the page',
    'take the set-up lock of the machine',
    'release the set-up lock of the machine',
  ])
    ops.ssh.answer(what, succeed())
  await rememberNetwork(ops)
  await run({})
  ops.nix.network = fakeNetwork([v2])
  tasks = []
  const apply = async () => {
    tasks.push('applied')
    return {}
  }
  Object.assign(ops, { tasks: async () => [fakeTask('users', { probe: async () => 'needed', apply })] })
  fleet.events.length = 0
  ops.ssh.execs.length = 0
})
afterEach(() => ops.cleanup())

const run = async (request: Partial<DeployRequest>) => deploy(ops, { ...standardRequest, ...request })
const record = async () => (await ops.store.resolve('net')).machines[v1.name]
const profile = ({ generations, bootDefault, previous }: FleetMachine) =>
  JSON.stringify([generations, bootDefault, previous])

describe('a part of a deploy', () => {
  it.each(['test', 'dry-activate'] as const)('touches no profile and no boot default: %s', async (mode) => {
    const before = profile(fleet.machine('web'))
    const { owner } = fleet.machine('web')
    fleet.machine('web').owner = ''
    expect((await run({ mode })).results).toMatchObject([
      { outcome: mode === 'test' ? 'changed' : expect.anything() },
    ])
    expect(profile(fleet.machine('web'))).toBe(before)
    expect(fleet.events).toEqual([`web ${mode} ${second}`])
    expect(fleet.machine('web')).toMatchObject(
      mode === 'test' ? { current: second, owner } : { current: first, owner: '' },
    )
  })

  it('makes the system the boot default with --boot, and switches nothing', async () => {
    expect((await run({ mode: 'boot' })).results).toMatchObject([{ outcome: 'changed' }])
    expect(fleet.events).toEqual([`web keep ${second}`])
    expect(fleet.machine('web')).toMatchObject({ current: first, bootDefault: second })
  })

  it.each(['boot', 'test', 'dry-activate'] as const)(
    'runs no task and no health check, and leaves the record of the last whole deploy: %s',
    async (mode) => {
      ops.ssh.answer('the page', exit(1))
      const { deployed, lastResult } = (await record()) ?? {}
      const { results } = await run({ mode })
      expect(results).not.toMatchObject([{ outcome: 'failed' }])
      expect(tasks).toEqual([])
      expect(ops.ssh.execs.map(({ what }) => what)).not.toContain('the page')
      expect(await record()).toMatchObject({ deployed, lastResult })
      expect((await record())?.activation).toBeUndefined()
    },
  )

  it('says in the plan for how long the system is meant', async () => {
    const noteOf = async (mode: DeployRequest['mode']) =>
      (await run({ mode, dryRun: true })).plan.machines[0]?.items.map(({ subject, note }) => [subject, note])
    expect(await noteOf('boot')).toEqual([
      ['closure', expect.stringContaining('from the next boot on (--boot)')],
    ])
    expect(await noteOf('test')).toEqual([
      ['closure', expect.stringContaining('until the next boot (--test)')],
    ])
    expect(await noteOf('dry-activate')).toEqual([
      ['closure', expect.stringContaining('only shows what a switch would do')],
    ])
    expect(fleet.events).toEqual([])
  })

  it('is followed by a complete deploy that runs tasks and checks', async () => {
    await run({ mode: 'test' })
    expect((await run({})).results).toMatchObject([{ outcome: 'changed' }])
    expect(fleet.machine('web')).toMatchObject({ current: second, bootDefault: second, previous: first })
    expect(tasks).toEqual(['applied'])
  })

  it('neither makes nor starts a machine to try a switch', async () => {
    ops.nix.network = fakeNetwork([nixosDefinition('db')])
    const before = ops.hypervisor.listing()
    const { results, plan } = await run({ mode: 'dry-activate' })
    expect(plan.machines[0]).toMatchObject({
      machine: 'db',
      items: [],
      unknown: 'the machine is not running',
    })
    expect(results).toMatchObject([
      { machine: 'db', outcome: 'failed', reason: expect.stringContaining('so no switch can be tried') },
    ])
    expect(ops.hypervisor.listing()).toEqual(before)
  })

  it('is refused for a Debian machine, with the flag that leaves the machine out', async () => {
    ops.nix.network = fakeNetwork([v2, fakeMachine('db'), fakeMachine('mail')])
    const before = await ops.store.resolve('net')
    await expect(run({ mode: 'boot' })).rejects.toMatchObject({
      message: '--boot is for NixOS machines, not for machines db, mail',
      hint: 'exclude the other machines: --exclude db mail',
      exitCode: 2,
    })
    await expect(run({ onDegraded: 'keep', selection: { exclude: ['mail'] } })).rejects.toMatchObject({
      message: "--on-degraded is for NixOS machines, not for machine 'db'",
    })
    expect(await ops.store.resolve('net')).toEqual(before)
    expect((await run({ mode: 'boot', selection: { on: 'web' } })).results).toMatchObject([
      { machine: 'web' },
    ])
  })

  it('reports a fault of a system that is only tried', async () => {
    fleet.behave(second, { samples: ['0 a.service 0 failed exit-code'] })
    expect((await run({ mode: 'test' })).results).toMatchObject([{ outcome: 'degraded' }])
    expect((await run({ mode: 'test', onDegraded: 'rollback' })).results).toMatchObject([
      { outcome: 'failed' },
    ])
    expect(fleet.machine('web')).toMatchObject({ current: first, bootDefault: first })
  })
})
