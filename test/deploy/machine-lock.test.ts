import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { succeed } from '../fakes/fake-ssh.js'
import { fakeTask } from '../fakes/fake-task.js'
import { standardRequest } from '../fakes/standard-request.js'

const take = 'take the set-up lock of the machine'
const release = 'release the set-up lock of the machine'
const check = { cmd: [{ cmd: ['true'], description: 'the page', period: 0.001, total: 0.001, timeout: 1 }] }

let ops: FakeOps
beforeEach(async () => {
  const web = fakeMachine('web', { deployment: { healthChecks: check } })
  ops = await createFakeOps({ network: fakeNetwork([web]) })
  runFakeDebian(ops)
  ops.ssh.answer('the page', succeed())
  await rememberNetwork(ops)
})
afterEach(() => ops.cleanup())

const run = async (request: Partial<DeployRequest> = {}) =>
  (await deploy(ops, { ...standardRequest, ...request })).results
const steps = () =>
  ops.ssh.execs.flatMap(({ what }) =>
    [take, release, 'start the activation', 'the page'].includes(what) ? [what] : [],
  )

describe('a deploy that activates a closure', () => {
  it('holds the lock of the machine from the activation to the end of the health checks, and takes it once', async () => {
    const task = fakeTask('users', { probe: async () => 'needed' })
    Object.assign(ops, { tasks: async () => [task] })
    expect(await run()).toMatchObject([{ outcome: 'changed' }])
    const seen = steps()
    expect(seen.filter((what) => what === take)).toHaveLength(1)
    expect(seen[0]).toBe(take)
    expect(seen.slice(-2)).toEqual(['the page', release])
    expect(seen).toContain('start the activation')
  })

  it('is refused while the machine updates itself, and starts nothing', async () => {
    ops.ssh.answer(take, { kind: 'exited', code: 75, stdout: 'its automatic update\n130\n', stderr: '' })
    expect(await run()).toMatchObject([
      {
        outcome: 'failed',
        reason: "machine 'web' has been locked for set-up by its automatic update for 2 min",
      },
    ])
    expect(steps()).toEqual([take])
  })

  it('releases the machine after an activation that failed', async () => {
    runFakeDebian(ops, { activationCode: () => 1 })
    ops.ssh.answer('the page', succeed())
    expect(await run()).toMatchObject([{ outcome: 'failed' }])
    expect(steps().at(-1)).toBe(release)
  })

  it('locks nothing when nothing is to be activated', async () => {
    await run()
    ops.ssh.execs.length = 0
    expect(await run()).toMatchObject([{ outcome: 'unchanged' }])
    expect(steps()).toEqual(['the page'])
  })
})
