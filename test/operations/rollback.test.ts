import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Plan } from '../../src/core/plan.js'
import { deploy } from '../../src/deploy/deploy.js'
import { usualDrain } from '../../src/deploy/drain.js'
import { type RollbackRequest, rollbackMachines } from '../../src/operations/rollback.js'
import { fakeBuilderTasks } from '../fakes/fake-builder-tasks.js'
import { fakeMachine, fakeNetwork, fakeStorePath } from '../fakes/fake-network.js'
import { type FakeFleet, runFakeFleet } from '../fakes/fake-nixos-fleet.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { succeed, surveyOf } from '../fakes/fake-ssh.js'
import { nixosDefinition } from '../fakes/nixos-definition.js'
import { standardRequest } from '../fakes/standard-request.js'

const initial = fakeStorePath('nixos-system-image')
const pathOf = (version: string) => nixosDefinition('web', { version }).outPath ?? ''

let ops: FakeOps
let fleet: FakeFleet
let plans: Plan[]
beforeEach(async () => {
  ops = await createFakeOps()
  fleet = runFakeFleet(ops, initial)
  plans = []
  await rememberNetwork(ops)
  await deployed('v1')
  await deployed('v2')
})
afterEach(() => ops.cleanup())

async function deployed(version: string) {
  ops.nix.network = fakeNetwork([nixosDefinition('web', { version })])
  return (await deploy(ops, standardRequest)).results
}

const rollback = (request: Partial<RollbackRequest> = {}) =>
  rollbackMachines(ops, {
    deployment: 'net',
    selection: {},
    maxConcurrent: 1,
    yes: true,
    allowReboot: false,
    onDegraded: undefined,
    confirmSeconds: 30,
    onPlan: (plan) => plans.push(plan),
    ...request,
  })
const record = async () => (await ops.store.resolve('net')).machines['web' as never]

describe('rollback', () => {
  it('goes back to the system before the last deploy, with a guard and a new login', async () => {
    fleet.events.length = 0
    ops.ssh.execs.length = 0
    expect(await rollback()).toMatchObject([{ machine: 'web', outcome: 'changed' }])
    expect(fleet.events).toEqual([`web test ${pathOf('v1')}`, `web keep ${pathOf('v1')}`])
    expect(fleet.machine('web')).toMatchObject({ current: pathOf('v1'), bootDefault: pathOf('v1') })
    const begin = ops.ssh.execs.find(({ what }) => what === 'start the activation')
    expect(begin?.values).toMatchObject({ guarded: 'true', old: pathOf('v2') })
    expect(await record()).toMatchObject({ deployed: { path: pathOf('v1') } })
  })

  it('deletes no generation, and can itself be rolled back', async () => {
    await rollback()
    expect(await rollback()).toMatchObject([{ outcome: 'changed' }])
    expect(fleet.machine('web').generations).toEqual(
      [initial, 'v1', 'v2', 'v1', 'v2'].map((each) => (each === initial ? initial : pathOf(each))),
    )
  })

  it('is undone by the next deploy', async () => {
    await rollback()
    expect(await deployed('v2')).toMatchObject([{ outcome: 'changed' }])
    expect(fleet.machine('web').current).toBe(pathOf('v2'))
  })

  it('shows its plan, and asks before anything is touched', async () => {
    ops.answerTo = false
    fleet.events.length = 0
    await expect(rollback({ yes: false })).rejects.toMatchObject({ message: 'nothing was changed' })
    expect(ops.asked).toEqual(['go back on web?'])
    expect(plans).toMatchObject([
      { machines: [{ machine: 'web', items: [{ detail: `${pathOf('v1')} instead of ${pathOf('v2')}` }] }] },
    ])
    expect(fleet.events).toEqual([])
  })

  it('says that there is no earlier system on a machine whose system nobody replaced', async () => {
    fleet.machine('web').previous = ''
    expect(await rollback()).toMatchObject([
      { outcome: 'failed', reason: "machine 'web' has no earlier system that hydra-ops replaced" },
    ])
    expect(plans[0]?.machines[0]?.unknown).toContain('has no earlier system')
  })

  it('leaves a degraded system for the boot default, and not for the system before that', async () => {
    fleet.behave(pathOf('v3'), { samples: ['0 a.service 0 failed exit-code'] })
    expect(await deployed('v3')).toMatchObject([{ outcome: 'degraded' }])
    expect(await rollback()).toMatchObject([{ outcome: 'changed' }])
    expect(fleet.machine('web')).toMatchObject({ current: pathOf('v2'), bootDefault: pathOf('v2') })
  })

  it('goes to the system before the last deploy, also after the same system was activated again and went back', async () => {
    const again = () => deploy(ops, { ...standardRequest, alwaysActivate: true, onDegraded: 'rollback' })
    expect((await again()).results).toMatchObject([{ outcome: 'changed' }])
    fleet.behave(pathOf('v2'), { samples: ['0 a.service 0 failed exit-code'] })
    expect((await again()).results).toMatchObject([{ outcome: 'failed' }])
    expect(fleet.machine('web')).toMatchObject({
      current: pathOf('v2'),
      bootDefault: pathOf('v2'),
      generations: [initial, pathOf('v1'), pathOf('v2')],
    })
    expect(await rollback()).toMatchObject([{ outcome: 'changed' }])
    expect(fleet.machine('web')).toMatchObject({ current: pathOf('v1'), bootDefault: pathOf('v1') })
  })

  it('stays on the current system if no login to the earlier one succeeds', async () => {
    fleet.behave(pathOf('v1'), { locksOut: true })
    expect(await rollback()).toMatchObject([
      { outcome: 'failed', reason: expect.stringContaining('went back to its old system') },
    ])
    expect(fleet.machine('web')).toMatchObject({ current: pathOf('v2'), bootDefault: pathOf('v2') })
    expect(await record()).toMatchObject({ deployed: { path: pathOf('v2') } })
  })

  it('says that a reboot is due, and does it where that is allowed', async () => {
    fleet.behave(pathOf('v1'), { kernel: '/nix/store/older-kernel' })
    await rollback()
    expect(ops.emitted).toContainEqual({
      kind: 'notice',
      text: expect.stringMatching(
        /^machine 'web': reboot needed: .* older kernel .*; hydra-ops reboot --include web reboots the machine$/,
      ),
    })
    await rollback()
    await rollback({ allowReboot: true })
    expect(fleet.machine('web')).toMatchObject({ boot: 2, current: pathOf('v1'), booted: pathOf('v1') })
  })

  describe('of a builder that has to reboot', () => {
    const drain = { ...usualDrain, idleMs: 0, pauseMs: 1 }
    let serving: number
    beforeEach(async () => {
      serving = 0
      Object.assign(ops, { tasks: async () => fakeBuilderTasks('web', 'ci') })
      const drains = /^(?:take|return) the jobs of builder 'web'$/
      ops.ssh.answer(drains, ({ machine, values }) => {
        fleet.events.push(`${machine} ${values.drains === 'true' ? 'drains' : 'resumes'} web`)
        return succeed('before=none\nread=/etc/nix/machines\n')
      })
      ops.ssh.answer('count the running builds', () => succeed(`serving=${serving}\n`))
      ops.nix.network = fakeNetwork([nixosDefinition('web', { version: 'v2' }), nixosDefinition('ci')])
      await deploy(ops, standardRequest)
      fleet.behave(pathOf('v1'), { kernel: '/nix/store/older-kernel' })
      fleet.events.length = 0
    })
    const back = (more: Partial<RollbackRequest> = {}) =>
      rollback({ selection: { include: ['web'] }, allowReboot: true, drain, ...more })

    it('drains the builder first, and gives the jobs back', async () => {
      expect(await back()).toMatchObject([{ outcome: 'changed' }])
      expect(fleet.machine('web')).toMatchObject({ boot: 2, booted: pathOf('v1') })
      expect(fleet.events.slice(-3)).toEqual([
        'ci drains web',
        `web reboot ${pathOf('v1')}`,
        'ci resumes web',
      ])
    })

    it('says that the machine went back, if its builds last too long for the reboot', async () => {
      serving = 1
      const [result] = await back({ drain: { ...drain, deadlineMs: 20 } })
      expect(result).toMatchObject({
        outcome: 'failed',
        reason: expect.stringMatching(
          /^machine 'web' went back to its earlier system, but was not rebooted: .*1 build runs/,
        ),
        hint: expect.stringMatching(/^hydra-ops reboot --include web boots the earlier system; .*--no-drain/),
      })
      expect(fleet.machine('web')).toMatchObject({
        boot: 1,
        current: pathOf('v1'),
        bootDefault: pathOf('v1'),
      })
      expect(fleet.events.at(-1)).toBe('ci resumes web')
    })
  })

  it('changes nothing on a machine of another deployment', async () => {
    fleet.machine('web').owner = 'another-uuid'
    fleet.events.length = 0
    expect(await rollback()).toMatchObject([
      { outcome: 'failed', reason: expect.stringContaining('belongs to another deployment') },
    ])
    expect(fleet.events).toEqual([])
  })

  it('is not a verb for a Debian machine', async () => {
    ops.ssh.answer('read the facts of the machine', surveyOf({}))
    ops.nix.network = fakeNetwork([fakeMachine('db')])
    await deploy(ops, { ...standardRequest, until: 'create' })
    expect(await rollback({ selection: { include: ['db'] } })).toMatchObject([
      { machine: 'db', outcome: 'failed', reason: expect.stringContaining('is not a NixOS machine') },
    ])
  })
})
