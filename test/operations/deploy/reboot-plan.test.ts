import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { deploy } from '../../../src/operations/deploy/deploy.js'
import type { DeployRequest } from '../../../src/operations/deploy/request.js'
import { runFakeDebian } from '../../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../../fakes/fake-network.js'
import { createFakeOps, type FakeOps } from '../../fakes/fake-ops.js'
import { standardRequest } from '../../fakes/standard-request.js'

let ops: FakeOps

/** A machine that is up to date. */
async function begin(debian: { rebootWanted?: boolean } = {}) {
  ops = await createFakeOps({ network: fakeNetwork([fakeMachine('web')]) })
  runFakeDebian(ops, debian)
  ops.store.create({ name: 'net' as never, expressions: ['/net.nix'], searchPath: [], args: {} })
  await deploy(ops, standardRequest)
}

const again = (request: Partial<DeployRequest>) => deploy(ops, { ...standardRequest, ...request })
const reboots = () => ops.ssh.execs.filter(({ what }) => what === 'reboot').length

afterEach(() => ops.cleanup())

describe('a reboot that was asked for', () => {
  beforeEach(() => begin())

  it('is in the plan, asked about and done', async () => {
    const { plan, results } = await again({ forceReboot: true })
    expect(plan).toMatchObject({
      disruptive: true,
      machines: [{ items: [{ action: 'reboot', detail: 'as asked: --force-reboot' }] }],
    })
    expect([results[0]?.outcome, reboots()]).toEqual(['changed', 1])
    ops.answerTo = false
    await expect(again({ forceReboot: true, yes: false })).rejects.toThrow('nothing was changed')
    expect(reboots()).toBe(1)
  })

  it('is neither planned nor done by a part of a deploy', async () => {
    for (const until of ['build', 'create', 'copy'] as const) {
      const { plan } = await again({ forceReboot: true, until })
      expect(plan).toMatchObject({ disruptive: false, machines: [{ items: [] }] })
    }
    expect(reboots()).toBe(0)
  })
})

describe('a reboot that the machine wants', () => {
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

  it('is asked about where it is allowed, done once, and then wanted no more', async () => {
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
