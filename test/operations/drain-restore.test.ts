import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { offerTask } from '../../src/core/builder-offer.js'
import type { MachineRecord } from '../../src/core/deployment.js'
import { failure } from '../../src/core/errors.js'
import { MachineName } from '../../src/core/names.js'
import { deploy } from '../../src/deploy/deploy.js'
import { restoreSnapshots } from '../../src/operations/restore-snapshot.js'
import { createSnapshots } from '../../src/operations/snapshots.js'
import { succeed } from '../fakes/fake-ssh.js'
import { standardRequest } from '../fakes/standard-request.js'
import { begin, drainedNow, drainNotices, only, quick, scene, silence, start, stop } from './drain-scene.js'

beforeEach(begin)
afterEach(() => scene.ops.cleanup())

describe('the restore of a builder from a snapshot', () => {
  const named = { deployment: undefined, maxConcurrent: 1, selection: only('b1'), name: 'before' }
  const restore = (more: Partial<Parameters<typeof restoreSnapshots>[1]> = {}) =>
    restoreSnapshots(scene.ops, { ...named, yes: true, drain: quick, ...more })
  beforeEach(async () => {
    scene.ops.ssh.answer('set the clock', succeed())
    await createSnapshots(scene.ops, { ...named, description: undefined })
    const { revert } = scene.ops.hypervisor
    scene.ops.hypervisor.revert = (...how) => {
      scene.seen.push('b1 restored')
      revert(...how)
    }
  })

  const changeB1 = async (change: (draft: MachineRecord) => void) => {
    const { uuid } = await scene.ops.store.resolve(undefined)
    await scene.ops.store.lock(uuid, (session) => session.updateMachine(MachineName.parse('b1'), change))
  }
  const forgetSnapshot = (name: string) =>
    changeB1((draft) => {
      delete draft.snapshots?.[name]
    })
  const forgetOffer = (name: string) =>
    changeB1((draft) => {
      delete draft.snapshots?.[name]?.tasks[offerTask]
    })

  it('takes the jobs away first, waits for the running builds, and gives the jobs back', async () => {
    scene.serving = [1, 0]
    expect(await restore()).toMatchObject([{ machine: 'b1', outcome: 'changed' }])
    expect(scene.seen).toEqual(['drain', '1 builds', '0 builds', 'b1 restored', 'resume'])
    expect(await drainedNow()).toEqual([false])
  })

  it('does not happen while builds run for too long, and the builder gets its jobs back', async () => {
    scene.serving = [1]
    const [result] = await restore({ drain: { ...quick, deadlineMs: 30 } })
    expect(result).toMatchObject({
      outcome: 'failed',
      reason: expect.stringContaining('the builder is idle and can be restored: 1 build runs'),
    })
    expect([scene.seen.includes('b1 restored'), scene.seen.at(-1)]).toEqual([false, 'resume'])
  })

  it('that fails gives the jobs back, although the record claims nothing any more', async () => {
    scene.ops.hypervisor.revert = () => {
      throw failure('RESTORE', `machine 'b1': the hypervisor refuses`)
    }
    const [result] = await restore()
    expect(result).toMatchObject({ outcome: 'failed', reason: expect.stringContaining('hypervisor refuses') })
    expect([scene.seen, scene.mark]).toEqual([['drain', '0 builds', 'resume'], 'none'])
    expect(await drainedNow()).toEqual([false])
  })

  it('that fails while the builder is off leaves the jobs to its next start', async () => {
    const { stop: stopDomain, listing } = scene.ops.hypervisor
    scene.ops.hypervisor.revert = () => {
      for (const domain of listing().running.filter((name) => name.endsWith('-b1'))) stopDomain(domain)
      throw failure('RESTORE', `machine 'b1': the memory is of another QEMU`)
    }
    await restore()
    expect(scene.mark).toBe('automatic')
    await start('b1')
    expect([scene.seen.at(-1), scene.mark, await drainedNow()]).toEqual(['resume', 'none', [false]])
  })

  it('of somebody else gives the jobs back too', async () => {
    await forgetSnapshot('before')
    expect(await restore()).toMatchObject([{ outcome: 'changed' }])
    expect([scene.seen.at(-1), scene.mark]).toEqual(['resume', 'none'])
  })

  it('from before its time as a builder says that a deploy gives the jobs back', async () => {
    await forgetOffer('before')
    expect(await restore()).toMatchObject([{ outcome: 'changed' }])
    expect(drainNotices()).toEqual([
      "builder 'b1' stays drained on 'ci'; a deploy of 'b1' and 'ci' gives the jobs back",
    ])
    await deploy(scene.ops, { ...standardRequest, drain: quick })
    expect([scene.seen.at(-1), scene.mark, await drainedNow()]).toEqual(['resume', 'none', [false]])
    expect(drainNotices()).toHaveLength(1)
  })

  it('from before its time as a builder says that a deploy of it alone leaves the jobs to its user', async () => {
    await forgetOffer('before')
    await restore()
    await deploy(scene.ops, { ...standardRequest, drain: quick, selection: only('b1') })
    expect(scene.mark).toBe('automatic')
    expect(drainNotices().at(-1)).toBe(
      "builder 'b1' stays drained on 'ci'; a deploy of 'ci' gives the jobs back",
    )
    await deploy(scene.ops, { ...standardRequest, drain: quick, selection: only('ci') })
    expect([scene.seen.at(-1), scene.mark, await drainedNow()]).toEqual(['resume', 'none', [false]])
    expect(drainNotices()).toHaveLength(2)
  })

  it('is told again by its next start, if it is from before its time as a builder', async () => {
    await forgetOffer('before')
    await restore()
    await stop('b1')
    await start('b1')
    expect(drainNotices()).toHaveLength(2)
  })

  it('comes before the restore of its user, which then begins no builds that a restore ends', async () => {
    await createSnapshots(scene.ops, { ...named, selection: only('ci'), description: undefined })
    const { revert } = scene.ops.hypervisor
    scene.ops.hypervisor.revert = (domain, ...how) => {
      scene.seen.push(domain.replace(/^.*-/, ''))
      revert(domain, ...how)
    }
    const together = await restore({ selection: only('ci', 'b1'), maxConcurrent: 4 })
    expect(together).toMatchObject([
      { machine: 'b1', outcome: 'changed' },
      { machine: 'ci', outcome: 'changed' },
    ])
    expect(scene.seen.filter((each) => ['b1', 'ci', 'drain'].includes(each))).toEqual(['b1', 'ci'])
  })

  it('happens although the builder does not answer, because a restore may be its way back', async () => {
    silence('b1')
    const [result] = await restore()
    expect(result?.reason).not.toContain('build')
    expect(scene.seen).toEqual(['drain', 'b1 restored'])
    expect(await drainedNow()).toEqual([true])
  })

  it('happens at once with --no-drain, and with a machine that is off', async () => {
    scene.serving = [3]
    expect(await restore({ drain: undefined })).toMatchObject([{ outcome: 'changed' }])
    expect(scene.seen).toEqual(['b1 restored'])
    scene.serving = [0]
    await stop('b1')
    scene.seen = []
    expect(await restore()).toMatchObject([{ outcome: 'changed' }])
    expect(scene.seen.filter((each) => /drain|builds/.test(each))).toEqual([])
  })
})
