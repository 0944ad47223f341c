import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { rebootMachines } from '../../src/operations/power.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { exit, succeed } from '../fakes/fake-ssh.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps

/** Deploys a machine, so that it is up to date. */
async function begin(debian: { rebootWanted?: boolean } = {}) {
  ops = await createFakeOps({ network: fakeNetwork([fakeMachine('web')]) })
  runFakeDebian(ops, debian)
  await rememberNetwork(ops)
  await deploy(ops, standardRequest)
}

const again = (request: Partial<DeployRequest>) => deploy(ops, { ...standardRequest, ...request })
const reboots = () => ops.ssh.execs.filter(({ what }) => what === 'reboot').length

afterEach(() => ops.cleanup())

describe('a requested reboot', () => {
  beforeEach(() => begin())

  it('is in the plan, asked about and done', async () => {
    const { plan, results } = await again({ forceReboot: true })
    expect(plan).toMatchObject({
      disruptive: true,
      machines: [{ items: [{ action: 'reboot', detail: 'requested by --force-reboot' }] }],
    })
    expect([results[0]?.outcome, reboots()]).toEqual(['changed', 1])
    ops.answerTo = false
    await expect(again({ forceReboot: true, yes: false })).rejects.toThrow('nothing was changed')
    expect(reboots()).toBe(1)
  })

  it('is recorded with the boot id after it, and the next deploy finds nothing to change', async () => {
    const bootId = async () => (await ops.store.resolve('net')).machines['web' as never]?.facts.bootId
    expect(await bootId()).toBe('boot-1')
    await again({ forceReboot: true })
    expect(await bootId()).toBe('boot-2')
    expect((await again({})).results).toMatchObject([{ outcome: 'unchanged' }])
    expect(await bootId()).toBe('boot-2')
  })

  it('is also recorded by the verb reboot', async () => {
    await rebootMachines(ops, { deployment: 'net', selection: {}, maxConcurrent: 1 })
    expect((await ops.store.resolve('net')).machines['web' as never]?.facts.bootId).toBe('boot-2')
  })

  it('is also recorded when the deploy fails after it', async () => {
    const check = { cmd: [{ cmd: ['false'], period: 0.001, total: 0.001, timeout: 1 }] }
    ops.nix.network = fakeNetwork([fakeMachine('web', { deployment: { healthChecks: check } })])
    ops.ssh.answer(/health|check/, exit(1))
    expect((await again({ forceReboot: true })).results).toMatchObject([
      { outcome: 'failed', stage: 'health' },
    ])
    expect((await ops.store.resolve('net')).machines['web' as never]?.facts.bootId).toBe('boot-2')
  })

  it('fails the deploy if the machine comes up with another system', async () => {
    const machines = join(ops.folder, 'machines')
    ops.ssh.answer('reboot', () => {
      writeFileSync(join(machines, 'web.boot'), '2')
      writeFileSync(join(machines, 'web.profile'), `/nix/store/${'e'.repeat(32)}-earlier`)
      return succeed()
    })
    expect((await again({ forceReboot: true })).results).toMatchObject([
      { outcome: 'failed', reason: "machine 'web' came up with a system other than the deployed one" },
    ])
  })

  it('is neither planned nor done by a partial deploy', async () => {
    for (const until of ['build', 'create', 'copy'] as const) {
      const { plan } = await again({ forceReboot: true, until })
      expect(plan).toMatchObject({ disruptive: false, machines: [{ items: [] }] })
    }
    expect(reboots()).toBe(0)
  })
})

describe('a reboot that the machine needs', () => {
  beforeEach(() => begin({ rebootWanted: true }))

  it('is in the plan, and not done unless it is allowed', async () => {
    const { plan, results } = await again({})
    expect(plan).toMatchObject({
      disruptive: false,
      machines: [{ items: [{ action: 'reboot', note: 'needs --allow-reboot' }] }],
    })
    expect(results[0]?.outcome).toBe('unchanged')
    expect(reboots()).toBe(0)
  })

  it('is confirmed when it is allowed, done once, and then no longer needed', async () => {
    ops.answerTo = false
    await expect(again({ allowReboot: true, yes: false })).rejects.toThrow('nothing was changed')
    expect(reboots()).toBe(0)
    ops.answerTo = true
    await again({ allowReboot: true, yes: false })
    expect(reboots()).toBe(1)
    expect((await again({ allowReboot: true, yes: false })).plan.machines).toMatchObject([{ items: [] }])
    expect([ops.asked.length, reboots()]).toEqual([2, 1])
  })
})
