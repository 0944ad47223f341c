import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { useTask } from '../../src/core/builder-offer.js'
import { MachineName } from '../../src/core/names.js'
import { deploy } from '../../src/deploy/deploy.js'
import { usualDrain } from '../../src/deploy/drain.js'
import { bootMs } from '../../src/machine/connect.js'
import { destroyMachines } from '../../src/operations/destroy.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { standardRequest } from '../fakes/standard-request.js'
import {
  begin,
  drainedNow,
  drainNotices,
  only,
  quick,
  reboot,
  scene,
  silence,
  start,
  stop,
} from './drain-scene.js'

beforeEach(begin)
afterEach(() => scene.ops.cleanup())

describe('the reboot of a builder', () => {
  it('takes the jobs away first, waits for the running builds, and gives the jobs back', async () => {
    scene.serving = [2, 1, 0]
    expect(await reboot()).toMatchObject([{ machine: 'b1', outcome: 'changed' }])
    expect(scene.seen).toEqual(['drain', '2 builds', '1 builds', '0 builds', 'b1 reboots', 'resume'])
    expect(await drainedNow()).toEqual([false])
  })

  it('waits for the machine that builds there as long as a boot of that machine may take', () => {
    expect(usualDrain.answerMs).toBeGreaterThanOrEqual(bootMs)
  })

  it('waits until no queue runner has an old list', async () => {
    const [result] = await reboot({ drain: { ...quick, deadlineMs: 50, idleMs: 60_000 } })
    expect(result).toMatchObject({
      outcome: 'failed',
      reason: expect.stringContaining('no build runs, but the lists of builders may not have been read'),
    })
  })

  it('does not happen while builds run for too long; the builder gets its jobs back, and the error names both ways', async () => {
    scene.serving = [1]
    const [result] = await reboot({ drain: { ...quick, deadlineMs: 30 } })
    expect(result).toMatchObject({
      outcome: 'failed',
      reason: expect.stringContaining('the builder is idle and can be rebooted: 1 build runs'),
      hint: expect.stringMatching(/--drain-deadline .*--no-drain /),
    })
    expect(scene.seen).not.toContain('b1 reboots')
    expect([scene.seen.at(-1), scene.mark, await drainedNow()]).toEqual(['resume', 'none', [false]])
  })

  it('does not happen after a drain without an answer, and the builder gets its jobs back', async () => {
    scene.lost = 1
    const [result] = await reboot()
    expect(result).toMatchObject({
      outcome: 'failed',
      reason: expect.stringContaining('connection was lost'),
    })
    expect([scene.seen, scene.mark, await drainedNow()]).toEqual([['drain', 'resume'], 'none', [false]])
  })

  it('records the drain in the state before a list changes, so that a later process can end the drain', async () => {
    await reboot()
    expect(scene.knownBefore).toEqual([true])
  })

  it('leaves a drain to the next start that it could not take back', async () => {
    scene.lost = 2
    await reboot()
    expect(await drainedNow()).toEqual([true])
    await stop('b1')
    await start('b1')
    expect([scene.seen.at(-1), scene.mark, await drainedNow()]).toEqual(['resume', 'none', [false]])
  })

  it('does not happen while a machine that builds there does not answer', async () => {
    silence('ci')
    const [result] = await reboot()
    expect(result).toMatchObject({
      outcome: 'failed',
      reason: expect.stringContaining(
        "machine 'b1' was not rebooted: machine 'ci' builds there and does not answer, so its builds cannot be stopped",
      ),
      hint: expect.stringContaining('--no-drain skips the drain'),
    })
    expect(scene.seen).toEqual([])
  })

  it('happens at once with --no-drain, and says for whom builds may fail', async () => {
    silence('ci')
    scene.serving = [3]
    expect(await reboot({ drain: undefined })).toMatchObject([{ outcome: 'changed' }])
    expect(scene.seen).toEqual(['b1 reboots'])
    const lines = scene.ops.logged.map(({ line }) => line)
    expect(lines).toContain("'ci' may build here, and the builder is not drained first")
  })

  it('happens without a drain while the machine that builds there is off', async () => {
    await stop('ci')
    scene.seen = []
    expect(await reboot()).toMatchObject([{ outcome: 'changed' }])
    expect(scene.seen).toEqual(['0 builds', 'b1 reboots'])
  })

  it('leaves a builder drained that a person drained', async () => {
    scene.mark = 'manual'
    expect(await reboot()).toMatchObject([{ outcome: 'changed' }])
    expect(scene.seen).toEqual(['drain', '0 builds', 'b1 reboots'])
    expect([scene.mark, await drainedNow()]).toEqual(['manual', [true]])
    scene.seen = []
    await deploy(scene.ops, { ...standardRequest, drain: quick, selection: only('b1') })
    expect(scene.seen).toEqual([])
  })

  it('drains no machine that is not a builder', async () => {
    expect(await reboot({ selection: only('web', 'ci') })).toHaveLength(2)
    expect(scene.seen.filter((each) => !each.endsWith('reboots'))).toEqual([])
  })
})

describe('a builder that a deploy ends', () => {
  const run = (more: Partial<typeof standardRequest>) =>
    deploy(scene.ops, { ...standardRequest, drain: quick, ...more })
  const onAnotherImage = () => fakeMachine('b1', { fake: { baseImage: 'another-image' } })

  it('is drained before it is destroyed, once it left the network', async () => {
    scene.ops.nix.network = fakeNetwork(['ci', 'web'].map((name) => fakeMachine(name)))
    scene.serving = [1, 0]
    await run({ killObsolete: true })
    expect(scene.seen.slice(0, 4)).toEqual(['drain', '1 builds', '0 builds', 'b1 stop'])
  })

  it('is drained before it is recreated', async () => {
    scene.ops.nix.network = fakeNetwork([onAnotherImage(), ...['ci', 'web'].map((name) => fakeMachine(name))])
    scene.serving = [1, 0]
    await run({ allowRecreate: true })
    expect(scene.seen.slice(0, 3)).toEqual(['drain', '1 builds', '0 builds'])
    expect(scene.seen.some((each) => each.startsWith('b1 '))).toBe(true)
    expect([scene.seen.at(-1), scene.mark, drainNotices()]).toEqual(['resume', 'none', []])
  })
})

describe('a builder that goes down', () => {
  it('is drained before it is stopped, and gets its jobs back at its start', async () => {
    await stop('b1')
    expect(scene.seen).toEqual(['drain', '0 builds', 'b1 stop'])
    expect(await drainedNow()).toEqual([true])
    await start('b1')
    expect([scene.seen.at(-1), await drainedNow()]).toEqual(['resume', [false]])
  })

  it('gets its jobs back at the start of the machine that builds there, if that machine was off', async () => {
    await stop('b1')
    await stop('ci')
    expect(await start('b1')).toMatchObject([{ machine: 'b1', outcome: 'changed' }])
    expect(scene.ops.emitted.flatMap((event) => (event.kind === 'notice' ? event.text : []))).toContain(
      "builder 'b1' stays drained on machine 'ci', which is off; the next start or deploy of 'ci' gives the jobs back",
    )
    expect([scene.mark, await drainedNow()]).toEqual(['automatic', [true]])
    expect(await start('ci')).toMatchObject([{ machine: 'ci', outcome: 'changed' }])
    expect([scene.seen.at(-1), scene.mark, await drainedNow()]).toEqual(['resume', 'none', [false]])
  })

  it('gets its jobs back, whether it starts before or after the machine that builds there', async () => {
    await stop('b1')
    await stop('ci')
    for (const each of await start('b1', 'ci')) expect(each).toMatchObject({ outcome: 'changed' })
    expect([scene.mark, await drainedNow()]).toEqual(['none', [false]])
  })

  it('gets its jobs back at a start of the machine that builds there only if the builder is up', async () => {
    await stop('b1')
    await stop('ci')
    expect(await start('ci')).toMatchObject([{ outcome: 'changed' }])
    expect([scene.mark, await drainedNow()]).toEqual(['automatic', [true]])
    expect(scene.ops.logged.map(({ line }) => line)).toContain("builder 'b1' stays drained: it is off")
  })

  it('gets its jobs back by a start, even if it runs already', async () => {
    scene.lost = 2
    await reboot()
    scene.mark = 'automatic'
    expect(await start('b1')).toMatchObject([{ outcome: 'changed' }])
    expect([scene.mark, await drainedNow()]).toEqual(['none', [false]])
    expect(await start('b1')).toMatchObject([{ outcome: 'unchanged' }])
  })

  it('is not drained if the machine that builds there is stopped with it', async () => {
    await stop('b1', 'ci')
    expect(scene.seen.filter((each) => !each.endsWith('stop'))).toEqual([])
  })

  it('is stopped even if it does not answer, because its builds cannot be awaited', async () => {
    silence('b1')
    await stop('b1')
    expect(scene.seen).toEqual(['drain', 'b1 stop'])
    expect(scene.ops.logged.map(({ line }) => line)).toContain(
      "machine 'b1' did not answer in time; its running builds cannot be awaited",
    )
  })

  it('is drained before it is destroyed, and not if nothing of it is there', async () => {
    const wish = { deployment: undefined, maxConcurrent: 1, yes: true, drain: quick }
    await destroyMachines(scene.ops, { ...wish, selection: only('b1') })
    expect(scene.seen.slice(0, 2)).toEqual(['drain', '0 builds'])
    expect(scene.seen).toContain('b1 undefine')
  })

  it('has its jobs after the deploy that makes it anew, whatever was deployed in between', async () => {
    const wish = { deployment: undefined, maxConcurrent: 1, yes: true, drain: quick }
    for (const between of [[], ['ci']]) {
      await destroyMachines(scene.ops, { ...wish, selection: only('b1') })
      expect(scene.mark).toBe('automatic')
      if (between.length > 0) await deploy(scene.ops, { ...standardRequest, selection: only(...between) })
      await deploy(scene.ops, standardRequest)
      expect([scene.mark, await drainedNow()]).toEqual(['none', [false]])
    }
  })

  it('is not destroyed while its builds run', async () => {
    scene.serving = [1]
    const wish = { deployment: undefined, maxConcurrent: 1, yes: true }
    const results = await destroyMachines(scene.ops, {
      ...wish,
      selection: only('b1'),
      drain: { ...quick, deadlineMs: 20 },
    })
    expect(results).toMatchObject([{ outcome: 'failed' }])
    expect(scene.seen).not.toContain('b1 undefine')
  })
})

describe('a deploy that reboots a builder', () => {
  const deployWith = (more: Partial<typeof standardRequest>) =>
    deploy(scene.ops, { ...standardRequest, drain: quick, ...more })

  it('drains the builder before the reboot, and gives the jobs back at its end', async () => {
    scene.serving = [1, 0]
    await deployWith({ forceReboot: true, selection: only('b1') })
    expect(scene.seen).toEqual(['drain', '1 builds', '0 builds', 'b1 reboots', 'resume'])
    expect([scene.known, await drainedNow()]).toEqual([[true], [false]])
  })

  it('does not reboot the builder while a machine that builds there does not answer', async () => {
    silence('ci')
    const { results } = await deployWith({ forceReboot: true, selection: only('b1') })
    expect(results).toMatchObject([
      { outcome: 'failed', reason: expect.stringContaining("machine 'b1' was not rebooted") },
    ])
    expect(scene.seen).toEqual([])
    const again = await deployWith({ forceReboot: true, selection: only('b1'), drain: undefined })
    expect(again.results).toMatchObject([{ outcome: 'changed' }])
    expect(scene.seen).toEqual(['b1 reboots'])
  })

  it('drains the builder before a restart for a changed option', async () => {
    scene.ops.nix.network = fakeNetwork(
      ['b1', 'ci', 'web'].map((name) =>
        fakeMachine(name, { fake: { memorySize: name === 'b1' ? 2048 : 1024 } }),
      ),
    )
    await deployWith({ allowReboot: true, selection: only('b1') })
    expect(scene.seen.slice(0, 3)).toEqual(['drain', '0 builds', 'b1 stop'])
    expect(scene.seen.at(-1)).toBe('resume')
  })

  it('drains nothing if nothing is rebooted', async () => {
    await deployWith({ allowReboot: true })
    expect(scene.seen).toEqual([])
  })

  it('succeeds while the machine that builds there is off, and the deploy of that machine gives the jobs back', async () => {
    await stop('b1')
    await stop('ci')
    const { results } = await deployWith({ selection: only('b1') })
    expect(results).toMatchObject([{ machine: 'b1', outcome: 'changed' }])
    expect([scene.mark, await drainedNow()]).toEqual(['automatic', [true]])
    await deployWith({ selection: only('ci') })
    expect([scene.mark, await drainedNow()]).toEqual(['none', [false]])
  })

  it('gives the jobs back that a process which was killed took', async () => {
    scene.mark = 'automatic'
    const { uuid } = await scene.ops.store.resolve(undefined)
    await scene.ops.store.lock(uuid, (held) =>
      held.updateMachine(MachineName.parse('ci'), (draft) => {
        const task = draft.tasks[useTask]
        if (task !== undefined) task.outputs = { ...task.outputs, drained: 'b1', automatic: 'b1' }
      }),
    )
    await deployWith({ selection: only('b1') })
    expect([scene.seen, scene.mark, await drainedNow()]).toEqual([['resume'], 'none', [false]])
  })
})
