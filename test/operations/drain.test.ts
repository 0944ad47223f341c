import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { offerTask, useTask } from '../../src/core/builder-offer.js'
import { unreachable } from '../../src/core/errors.js'
import { MachineName } from '../../src/core/names.js'
import { deploy } from '../../src/deploy/deploy.js'
import { usualDrain } from '../../src/deploy/drain.js'
import { bootMs } from '../../src/machine/connect.js'
import { listBuilders } from '../../src/operations/builders.js'
import { destroyMachines } from '../../src/operations/destroy.js'
import { rebootMachines, startMachines, stopMachines } from '../../src/operations/power.js'
import { b1Offer } from '../fakes/builder-peers.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { succeed } from '../fakes/fake-ssh.js'
import { fakeTask } from '../fakes/fake-task.js'
import { standardRequest } from '../fakes/standard-request.js'

const b1 = MachineName.parse('b1')
let ops: FakeOps
/** Next boot of a machine. */
let boots = 2
/** Drained builders in the state at the last reboot. */
let known: boolean[] = []
/** Events on `ci`, on `b1` and at the provider, in their order. */
let seen: string[]
/** Mark on `ci`. */
let mark: 'none' | 'automatic' | 'manual'
/** Whether the state knew of the drain when `ci` was asked for it. */
let knownBefore: boolean[]
/** Number of answers about the drain that get lost on their way. */
let lost: number
/** Numbers of builds that run on `b1`, one for each look; the last one stays. */
let serving: number[]

beforeEach(async () => {
  seen = []
  mark = 'none'
  lost = 0
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
        wanted: ({ definition, peers }) => {
          const { hostKey, outputs } = peers?.get(b1) ?? {}
          return definition.name === 'ci' ? { hostKey, offer: outputs?.[offerTask]?.entry } : undefined
        },
        probe: async () => 'done',
        apply: async (_, options) => {
          const builders = 'offer' in options && options.offer !== undefined ? 'b1' : ''
          const marked = (when: boolean) => (when ? builders : '')
          return { builders, drained: marked(mark !== 'none'), automatic: marked(mark === 'automatic') }
        },
      }),
    ],
  })
  const drains = /^(?:take|return) the jobs of builder 'b1'$/
  ops.ssh.answer(drains, async ({ values, machine }) => {
    if (values.drains === 'true') knownBefore = await drainedNow()
    expect([machine, values.login, values.jobs]).toEqual(['ci', 'nix-builder@b1', '4'])
    const before = mark
    if (mark !== 'manual') mark = values.drains === 'true' ? 'automatic' : 'none'
    seen.push(values.drains === 'true' ? 'drain' : 'resume')
    if (lost > 0) {
      lost -= 1
      return { kind: 'lost', stdout: '', stderr: '' }
    }
    return succeed(`before=${before}\nread=/etc/hydra/builders\n`)
  })
  ops.ssh.answer('count the running builds', () => {
    const now = serving.length > 1 ? serving.shift() : serving[0]
    seen.push(`${now} builds`)
    return succeed(`serving=${now}\n`)
  })
  await rememberNetwork(ops)
  await deploy(ops, standardRequest)
  ops.ssh.answer('reboot', async ({ machine }) => {
    seen.push(`${machine} reboots`)
    known = await drainedNow()
    writeFileSync(join(ops.folder, 'machines', `${machine}.boot`), String(boots++))
    return succeed()
  })
  for (const name of ['stop', 'undefine'] as const) {
    const act = ops.hypervisor[name]
    ops.hypervisor[name] = (domain) => {
      seen.push(`${domain.replace(/^.*-/, '')} ${name}`)
      act(domain)
    }
  }
})
afterEach(() => ops.cleanup())

const quick = { ...usualDrain, deadlineMs: 20_000, idleMs: 0, pauseMs: 1, answerMs: 1 }
const request = { deployment: undefined, maxConcurrent: 4, drain: quick }
const only = (...names: string[]) => ({ on: names.join(',') })
const reboot = (more: Partial<Parameters<typeof rebootMachines>[1]> = {}) =>
  rebootMachines(ops, { ...request, selection: only('b1'), ...more })
const stop = (...names: string[]) => stopMachines(ops, { ...request, selection: only(...names), graceMs: 0 })
const start = (...names: string[]) =>
  startMachines(ops, { deployment: undefined, maxConcurrent: 1, selection: only(...names) })
const drainedNow = async () => (await listBuilders(ops, undefined)).map(({ drained }) => drained)

/** Lets `ci` run without an answer. */
function silenceCi(): void {
  const { waitForBanner } = ops.ssh
  Object.assign(ops.ssh, {
    waitForBanner: async (...how: Parameters<typeof waitForBanner>) => {
      if (how[0].machine === 'ci') throw unreachable('ci', "machine 'ci' did not answer in time")
      return waitForBanner(...how)
    },
  })
}

describe('the reboot of a builder', () => {
  it('takes the jobs away first, waits for the running builds, and gives the jobs back', async () => {
    serving = [2, 1, 0]
    expect(await reboot()).toMatchObject([{ machine: 'b1', outcome: 'changed' }])
    expect(seen).toEqual(['drain', '2 builds', '1 builds', '0 builds', 'b1 reboots', 'resume'])
    expect(await drainedNow()).toEqual([false])
  })

  it('waits for the machine that builds there as long as a boot of that machine may take', () => {
    expect(usualDrain.answerMs).toBeGreaterThanOrEqual(bootMs)
  })

  it('waits until no queue runner has an old list', async () => {
    const [result] = await reboot({ drain: { ...quick, deadlineMs: 50, idleMs: 60_000 } })
    expect(result).toMatchObject({
      outcome: 'failed',
      reason: expect.stringContaining('no build runs, and the lists of builders may not be read yet'),
    })
  })

  it('does not happen while builds run for too long; the builder gets its jobs back, and the error names both ways', async () => {
    serving = [1]
    const [result] = await reboot({ drain: { ...quick, deadlineMs: 30 } })
    expect(result).toMatchObject({
      outcome: 'failed',
      reason: expect.stringContaining('no build runs there any more, before it is rebooted: 1 build runs'),
      hint: expect.stringMatching(/--drain-deadline .*--no-drain /),
    })
    expect(seen).not.toContain('b1 reboots')
    expect([seen.at(-1), mark, await drainedNow()]).toEqual(['resume', 'none', [false]])
  })

  it('does not happen after a drain without an answer, and the builder gets its jobs back', async () => {
    lost = 1
    const [result] = await reboot()
    expect(result).toMatchObject({
      outcome: 'failed',
      reason: expect.stringContaining('connection was lost'),
    })
    expect([seen, mark, await drainedNow()]).toEqual([['drain', 'resume'], 'none', [false]])
  })

  it('tells the state of the drain before a list changes, so that a later process can end the drain', async () => {
    await reboot()
    expect(knownBefore).toEqual([true])
  })

  it('leaves a drain to the next start that it could not take back', async () => {
    lost = 2
    await reboot()
    expect(await drainedNow()).toEqual([true])
    await stop('b1')
    await start('b1')
    expect([seen.at(-1), mark, await drainedNow()]).toEqual(['resume', 'none', [false]])
  })

  it('does not happen while a machine that builds there does not answer', async () => {
    silenceCi()
    const [result] = await reboot()
    expect(result).toMatchObject({
      outcome: 'failed',
      reason: expect.stringContaining(
        "machine 'b1' was not rebooted: machine 'ci' builds there and does not answer, so its builds cannot be stopped",
      ),
      hint: expect.stringContaining('--no-drain goes on'),
    })
    expect(seen).toEqual([])
  })

  it('happens at once with --no-drain, and says for whom builds may fail', async () => {
    silenceCi()
    serving = [3]
    expect(await reboot({ drain: undefined })).toMatchObject([{ outcome: 'changed' }])
    expect(seen).toEqual(['b1 reboots'])
    const lines = ops.logged.map(({ line }) => line)
    expect(lines).toContain("'ci' may build here, and the builder is not drained first")
  })

  it('happens without a drain while the machine that builds there is off', async () => {
    await stop('ci')
    seen = []
    expect(await reboot()).toMatchObject([{ outcome: 'changed' }])
    expect(seen).toEqual(['0 builds', 'b1 reboots'])
  })

  it('leaves a builder drained that a person drained', async () => {
    mark = 'manual'
    expect(await reboot()).toMatchObject([{ outcome: 'changed' }])
    expect(seen).toEqual(['drain', '0 builds', 'b1 reboots'])
    expect([mark, await drainedNow()]).toEqual(['manual', [true]])
    seen = []
    await deploy(ops, { ...standardRequest, drain: quick, selection: only('b1') })
    expect(seen).toEqual([])
  })

  it('drains no machine that is no builder', async () => {
    expect(await reboot({ selection: only('web', 'ci') })).toHaveLength(2)
    expect(seen.filter((each) => !each.endsWith('reboots'))).toEqual([])
  })
})

describe('a builder that goes down', () => {
  it('is drained before it is stopped, and gets its jobs back at its start', async () => {
    await stop('b1')
    expect(seen).toEqual(['drain', '0 builds', 'b1 stop'])
    expect(await drainedNow()).toEqual([true])
    await start('b1')
    expect([seen.at(-1), await drainedNow()]).toEqual(['resume', [false]])
  })

  it('gets its jobs back at the start of the machine that builds there, if that machine was off', async () => {
    await stop('b1')
    await stop('ci')
    expect(await start('b1')).toMatchObject([{ machine: 'b1', outcome: 'changed' }])
    expect(ops.emitted.flatMap((event) => (event.kind === 'notice' ? event.text : []))).toContain(
      "builder 'b1' stays drained on machine 'ci', which is off; the next start or deploy of 'ci' gives the jobs back",
    )
    expect([mark, await drainedNow()]).toEqual(['automatic', [true]])
    expect(await start('ci')).toMatchObject([{ machine: 'ci', outcome: 'changed' }])
    expect([seen.at(-1), mark, await drainedNow()]).toEqual(['resume', 'none', [false]])
  })

  it('gets its jobs back, whether it starts before or after the machine that builds there', async () => {
    await stop('b1')
    await stop('ci')
    for (const each of await start('b1', 'ci')) expect(each).toMatchObject({ outcome: 'changed' })
    expect([mark, await drainedNow()]).toEqual(['none', [false]])
  })

  it('gets its jobs back at a start of the machine that builds there only if the builder is up', async () => {
    await stop('b1')
    await stop('ci')
    expect(await start('ci')).toMatchObject([{ outcome: 'changed' }])
    expect([mark, await drainedNow()]).toEqual(['automatic', [true]])
    expect(ops.logged.map(({ line }) => line)).toContain("builder 'b1' stays drained: it is off")
  })

  it('gets its jobs back by a start, even if it runs already', async () => {
    lost = 2
    await reboot()
    expect(mark).toBe('none')
    mark = 'automatic'
    expect(await start('b1')).toMatchObject([{ outcome: 'changed' }])
    expect([mark, await drainedNow()]).toEqual(['none', [false]])
    expect(await start('b1')).toMatchObject([{ outcome: 'unchanged' }])
  })

  it('is not drained if the machine that builds there is stopped with it', async () => {
    await stop('b1', 'ci')
    expect(seen.filter((each) => !each.endsWith('stop'))).toEqual([])
  })

  it('is stopped even if it does not answer, because its builds cannot be awaited', async () => {
    const { connect } = ops.ssh
    Object.assign(ops.ssh, {
      connect: async (...how: Parameters<typeof connect>) => {
        if (how[0].machine === 'b1') throw unreachable('b1', "machine 'b1' does not answer")
        return connect(...how)
      },
    })
    await stop('b1')
    expect(seen).toEqual(['drain', 'b1 stop'])
    expect(ops.logged.map(({ line }) => line)).toContain(
      "machine 'b1' does not answer; its running builds cannot be awaited",
    )
  })

  it('is drained before it is destroyed, and not if nothing of it is there', async () => {
    const wish = { deployment: undefined, maxConcurrent: 1, yes: true, drain: quick }
    await destroyMachines(ops, { ...wish, selection: only('b1') })
    expect(seen.slice(0, 2)).toEqual(['drain', '0 builds'])
    expect(seen).toContain('b1 undefine')
  })

  it('has its jobs after the deploy that makes it anew, whatever was deployed in between', async () => {
    const wish = { deployment: undefined, maxConcurrent: 1, yes: true, drain: quick }
    for (const between of [[], ['ci']]) {
      await destroyMachines(ops, { ...wish, selection: only('b1') })
      expect(mark).toBe('automatic')
      if (between.length > 0) await deploy(ops, { ...standardRequest, selection: only(...between) })
      await deploy(ops, standardRequest)
      expect([mark, await drainedNow()]).toEqual(['none', [false]])
    }
  })

  it('is not destroyed while its builds run', async () => {
    serving = [1]
    const wish = { deployment: undefined, maxConcurrent: 1, yes: true }
    const results = await destroyMachines(ops, {
      ...wish,
      selection: only('b1'),
      drain: { ...quick, deadlineMs: 20 },
    })
    expect(results).toMatchObject([{ outcome: 'failed' }])
    expect(seen).not.toContain('b1 undefine')
  })
})

describe('a deploy that reboots a builder', () => {
  const deployWith = (more: Partial<typeof standardRequest>) =>
    deploy(ops, { ...standardRequest, drain: quick, ...more })

  it('drains the builder before the reboot, and gives the jobs back at its end', async () => {
    serving = [1, 0]
    await deployWith({ forceReboot: true, selection: only('b1') })
    expect(seen).toEqual(['drain', '1 builds', '0 builds', 'b1 reboots', 'resume'])
    expect([known, await drainedNow()]).toEqual([[true], [false]])
  })

  it('does not reboot the builder while a machine that builds there does not answer', async () => {
    silenceCi()
    const { results } = await deployWith({ forceReboot: true, selection: only('b1') })
    expect(results).toMatchObject([
      { outcome: 'failed', reason: expect.stringContaining("machine 'b1' was not rebooted") },
    ])
    expect(seen).toEqual([])
    const again = await deployWith({ forceReboot: true, selection: only('b1'), drain: undefined })
    expect(again.results).toMatchObject([{ outcome: 'changed' }])
    expect(seen).toEqual(['b1 reboots'])
  })

  it('drains the builder before a restart for a changed option', async () => {
    ops.nix.network = fakeNetwork(
      ['b1', 'ci', 'web'].map((name) =>
        fakeMachine(name, { fake: { memorySize: name === 'b1' ? 2048 : 1024 } }),
      ),
    )
    await deployWith({ allowReboot: true, selection: only('b1') })
    expect(seen.slice(0, 3)).toEqual(['drain', '0 builds', 'b1 stop'])
    expect(seen.at(-1)).toBe('resume')
  })

  it('drains nothing if nothing is rebooted', async () => {
    await deployWith({ allowReboot: true })
    expect(seen).toEqual([])
  })

  it('succeeds while the machine that builds there is off, and the deploy of that machine gives the jobs back', async () => {
    await stop('b1')
    await stop('ci')
    const { results } = await deployWith({ selection: only('b1') })
    expect(results).toMatchObject([{ machine: 'b1', outcome: 'changed' }])
    expect([mark, await drainedNow()]).toEqual(['automatic', [true]])
    await deployWith({ selection: only('ci') })
    expect([mark, await drainedNow()]).toEqual(['none', [false]])
  })

  it('gives the jobs back that a process which was killed took', async () => {
    mark = 'automatic'
    const { uuid } = await ops.store.resolve(undefined)
    await ops.store.lock(uuid, (held) =>
      held.updateMachine(MachineName.parse('ci'), (draft) => {
        const task = draft.tasks[useTask]
        if (task !== undefined) task.outputs = { ...task.outputs, drained: 'b1', automatic: 'b1' }
      }),
    )
    await deployWith({ selection: only('b1') })
    expect([seen, mark, await drainedNow()]).toEqual([['resume'], 'none', [false]])
  })
})
