import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MachineName } from '../../src/core/names.js'
import { deploy } from '../../src/deploy/deploy.js'
import { usualDrain } from '../../src/deploy/drain.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { rollbackMachines } from '../../src/operations/rollback.js'
import { b1Offer } from '../fakes/builder-peers.js'
import { fakeNetwork, fakeStorePath } from '../fakes/fake-network.js'
import { type FakeFleet, runFakeFleet, type SystemBehaviour } from '../fakes/fake-nixos-fleet.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { succeed } from '../fakes/fake-ssh.js'
import { nixosDefinition } from '../fakes/nixos-definition.js'
import { standardRequest } from '../fakes/standard-request.js'

const initial = fakeStorePath('nixos-system-image')
const stranger = fakeStorePath('nixos-system-by-hand')
const [v1, v2] = [nixosDefinition('web'), nixosDefinition('web', { version: 'v2' })]
const [first, second] = [v1.outPath ?? '', v2.outPath ?? '']

let ops: FakeOps
let fleet: FakeFleet
beforeEach(async () => {
  ops = await createFakeOps({ network: fakeNetwork([v1]) })
  fleet = runFakeFleet(ops, initial)
  await rememberNetwork(ops)
  fleet.behave(first, { version: '24.11.20241128.abc', kernel: '/nix/store/k1' })
  await run()
  Object.assign(fleet.machine('web'), { booted: first })
  ops.nix.network = fakeNetwork([v2])
  fleet.events.length = 0
})
afterEach(() => ops.cleanup())

const run = (request: Partial<DeployRequest> = {}) => deploy(ops, { ...standardRequest, ...request })

/** Places the second system with these facts in the operator's store. */
async function built(facts: SystemBehaviour) {
  fleet.behave(second, facts)
  const folder = join(ops.folder, 'contents/nix/store/v2')
  mkdirSync(folder, { recursive: true })
  const kernel = facts.kernel ?? '/nix/store/k1'
  mkdirSync(join(ops.folder, 'contents/nix/store'), { recursive: true })
  writeFileSync(join(folder, 'nixos-version'), facts.version ?? '')
  writeFileSync(join(folder, 'switch-inhibitors'), JSON.stringify(facts.inhibitors ?? {}))
  writeFileSync(join(ops.folder, 'contents', kernel), '')
  const { symlinkSync } = await import('node:fs')
  symlinkSync(kernel, join(folder, 'kernel'))
  await run({ until: 'build' })
  ops.nix.folders.set(second, folder)
}

/** Makes `web` a builder for the machine `ci`, which is off. */
async function becomeBuilder(): Promise<void> {
  const { uuid } = await ops.store.resolve(undefined)
  await ops.store.lock(uuid, async (held) => {
    const [web, ci] = [MachineName.parse('web'), MachineName.parse('ci')]
    const record = structuredClone(held.record.machines[web])
    if (record === undefined) throw new Error('there is no record of web')
    await held.putMachine(ci, {
      ...record,
      handle: undefined,
      tasks: { builders: { inputs: '', at: '', outputs: { builders: 'web', drained: '' } } },
    })
    await held.updateMachine(web, (draft) => {
      const entry = b1Offer.replace('b1', 'web')
      draft.tasks.builder = { inputs: '', at: '', outputs: { user: 'nix-builder', for: 'ci', entry } }
    })
  })
}

const itemsOf = async (request: Partial<DeployRequest> = {}) => {
  const { plan } = await run({ dryRun: true, ...request })
  return (
    plan.machines[0]?.items.map(({ subject, action, detail, note }) => [subject, action, detail, note]) ?? []
  )
}

describe('a wanted system in the operator’s store', () => {
  it('has its reboot in the plan before anything is activated', async () => {
    await built({ version: '24.11.20241129.abc', kernel: '/nix/store/k2' })
    const reason = 'reboot needed: the new system has another kernel'
    expect(await itemsOf()).toContainEqual(['machine', 'reboot', reason, 'needs --allow-reboot'])
    const { plan } = await run({ dryRun: true, allowReboot: true })
    expect(plan.disruptive).toBe(true)
  })

  it('is kept without the reboot where that is not allowed, and a notice says so', async () => {
    await built({ version: '24.11.20241129.abc', kernel: '/nix/store/k2' })
    await run()
    expect(fleet.events).toEqual([`web test ${second}`, `web keep ${second}`])
    expect(ops.emitted).toContainEqual({
      kind: 'notice',
      text: expect.stringMatching(
        /^machine 'web': reboot needed: .*kernel.*; run hydra-ops deploy --allow-reboot$/,
      ),
    })
  })

  it('that is older than the one that runs is said to be older', async () => {
    await built({ version: '24.11.20241101.abc' })
    expect(await itemsOf()).toContainEqual([
      'closure',
      'change',
      'older than the system that runs: 24.11.20241101.abc instead of 24.11.20241128.abc',
      undefined,
    ])
  })

  it('of another release is announced, and booted instead of switched to', async () => {
    await built({ version: '25.05.1.abc' })
    expect(await itemsOf()).toContainEqual([
      'machine',
      'reboot',
      'reboot needed: only a boot enters a system of another release (25.05 instead of 24.11)',
      'needs --allow-reboot',
    ])
    expect((await run()).results).toMatchObject([{ outcome: 'changed' }])
    expect(fleet.events).toEqual([`web keep ${second}`])
    expect(fleet.machine('web')).toMatchObject({ current: first, bootDefault: second })
    await run({ allowReboot: true })
    expect(fleet.machine('web')).toMatchObject({ current: second, booted: second, boot: 2 })
  })

  it('with another inhibitor is booted, also if the plan did not know the system yet', async () => {
    fleet.behave(first, { version: '24.11.20241128.abc', inhibitors: { dbus: '1' } })
    fleet.behave(second, { version: '24.11.20241129.abc', inhibitors: { dbus: '2' } })
    expect((await run({ allowReboot: true })).results).toMatchObject([{ outcome: 'changed' }])
    expect(fleet.events).toEqual([`web boot once ${second}`, `web keep ${second}`])
  })

  it('becomes the boot default before its boot with --no-boot-once', async () => {
    await built({ version: '24.11.20241129.abc', kernel: '/nix/store/k2' })
    await run({ allowReboot: true, bootOnce: false })
    expect(fleet.events.slice(-2)).toEqual([`web keep ${second}`, `web reboot ${second}`])
  })

  it('is not switched to if the machine cannot boot it once, and the error names the way round', async () => {
    await built({ version: '24.11.20241129.abc', kernel: '/nix/store/k2' })
    ops.ssh.answer('look at the boot loader', succeed('obstacle=/etc does not survive a reboot\n'))
    expect((await run({ allowReboot: true })).results).toMatchObject([
      { outcome: 'failed', reason: expect.stringContaining('/etc does not survive a reboot') },
    ])
    expect(fleet.events).toEqual([])
    expect(fleet.machine('web')).toMatchObject({ current: first, bootDefault: first })
  })

  it('is booted once only after the builds of a builder have ended, and nothing is switched before', async () => {
    await built({ version: '24.11.20241129.abc', kernel: '/nix/store/k2' })
    await becomeBuilder()
    const drain = { ...usualDrain, deadlineMs: 20, idleMs: 0, pauseMs: 1 }
    ops.ssh.answer('count the running builds', succeed('serving=1\n'))
    expect((await run({ allowReboot: true, drain })).results).toMatchObject([
      {
        outcome: 'failed',
        reason: expect.stringContaining('the builder is idle and can be rebooted: 1 build runs'),
      },
    ])
    expect(fleet.events).toEqual([])
    expect(fleet.machine('web')).toMatchObject({ current: first, bootDefault: first })
    ops.ssh.answer('count the running builds', () => {
      fleet.events.push('no build')
      return succeed('serving=0\n')
    })
    expect((await run({ allowReboot: true, drain })).results).toMatchObject([{ outcome: 'changed' }])
    expect(fleet.events).toEqual([
      'no build',
      `web test ${second}`,
      `web boot once ${second}`,
      `web keep ${second}`,
    ])
  })

  it('that only a boot enters is refused by --test', async () => {
    await built({ version: '25.05.1.abc' })
    expect((await run({ mode: 'test' })).results).toMatchObject([
      {
        outcome: 'failed',
        reason: expect.stringContaining('the change needs a reboot and --test never reboots'),
      },
    ])
    expect(fleet.events).toEqual([])
  })
})

describe('a system that nobody knows', () => {
  beforeEach(() => Object.assign(fleet.machine('web'), { current: stranger, bootDefault: stranger }))

  it('is not replaced, and the plan says why', async () => {
    const { plan, results } = await run({ dryRun: true })
    const reason = `machine 'web' runs a system that neither this deployment nor this host knows: ${stranger}; it was not touched`
    expect(plan.machines).toMatchObject([{ items: [], unknown: reason }])
    expect(results).toMatchObject([{ outcome: 'failed', stage: 'inspect', reason }])
    expect((await run()).results).toMatchObject([
      { outcome: 'failed', hint: expect.stringContaining('--replace-unknown') },
    ])
    expect(fleet.events).toEqual([])
    expect(fleet.machine('web').current).toBe(stranger)
  })

  it('is replaced where the flag allows that, and can come back by a rollback', async () => {
    expect((await run({ replaceUnknown: true })).results).toMatchObject([{ outcome: 'changed' }])
    expect(fleet.machine('web').current).toBe(second)
    const request = { deployment: 'net', selection: {}, maxConcurrent: 1, yes: true, allowReboot: false }
    await rollbackMachines(ops, { ...request, onDegraded: undefined, confirmSeconds: 30, onPlan: () => {} })
    expect(fleet.machine('web').current).toBe(stranger)
    expect((await run()).results).toMatchObject([{ outcome: 'changed' }])
  })

  it('is known if the operator’s store has the system', async () => {
    ops.nix.isBuilt = async () => true
    expect((await run()).results).toMatchObject([{ outcome: 'changed' }])
  })
})
