import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { failure } from '../../src/core/errors.js'
import { deploy } from '../../src/deploy/deploy.js'
import { destroyMachines } from '../../src/operations/destroy.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { exit } from '../fakes/fake-ssh.js'
import { standardRequest } from '../fakes/standard-request.js'
import { begin, drainedNow, only, quick, reboot, scene, silence, stop } from './drain-scene.js'

beforeEach(begin)
afterEach(() => scene.ops.cleanup())

describe('a builder whose connection is lost while its builds are awaited', () => {
  beforeEach(() => {
    scene.serving = [1, Number.NaN, 0]
  })

  it('is asked again by a new connection', async () => {
    expect(await reboot()).toMatchObject([{ outcome: 'changed' }])
    expect(scene.seen).toEqual(['drain', '1 builds', 'NaN builds', '0 builds', 'b1 reboots', 'resume'])
  })

  it('is not rebooted if it does not answer any more, and the error does not speak of builds', async () => {
    scene.onLoss = () => silence('b1')
    expect(await reboot()).toMatchObject([
      { outcome: 'failed', reason: "machine 'b1' did not answer in time" },
    ])
    expect([scene.seen, scene.mark]).toEqual([['drain', '1 builds', 'NaN builds'], 'automatic'])
    expect(scene.ops.logged.map(({ line }) => line)).toContain(
      "builder 'b1' stays drained: machine 'b1' did not answer in time",
    )
  })

  it('is stopped if it does not answer any more', async () => {
    scene.onLoss = () => silence('b1')
    await stop('b1')
    expect(scene.seen).toEqual(['drain', '1 builds', 'NaN builds', 'b1 stop'])
  })
})

describe('a builder that stays up after all', () => {
  it('gets its jobs back where the reboot fails', async () => {
    scene.ops.ssh.answer('read the boot id', exit(1))
    expect(await reboot()).toMatchObject([{ outcome: 'failed' }])
    expect([scene.seen, scene.mark, await drainedNow()]).toEqual([
      ['drain', '0 builds', 'resume'],
      'none',
      [false],
    ])
  })

  it.each(['stop', 'destroy'])(
    'gets its jobs back where the hypervisor fails to %s the builder',
    async (verb) => {
      Object.assign(scene.ops.hypervisor, {
        stop: () => {
          throw failure('HYPERVISOR', 'the hypervisor refuses')
        },
      })
      const wish = { deployment: undefined, maxConcurrent: 1, yes: true, drain: quick, selection: only('b1') }
      const results = verb === 'stop' ? await stop('b1') : await destroyMachines(scene.ops, wish)
      expect(results).toMatchObject([{ outcome: 'failed', reason: 'the hypervisor refuses' }])
      expect([scene.mark, await drainedNow()]).toEqual(['none', [false]])
    },
  )

  it('gets its jobs back where a health check fails after the reboot', async () => {
    const healthChecks = {
      cmd: [{ cmd: ['true'], description: 'the page', period: 0.001, total: 0.001, timeout: 1 }],
    }
    scene.ops.nix.network = fakeNetwork(
      ['b1', 'ci', 'web'].map((name) =>
        fakeMachine(name, name === 'b1' ? { deployment: { healthChecks } } : {}),
      ),
    )
    scene.ops.ssh.answer('the page', exit(1))
    const request = { ...standardRequest, drain: quick, forceReboot: true, selection: only('b1') }
    expect((await deploy(scene.ops, request)).results).toMatchObject([{ outcome: 'failed', stage: 'health' }])
    expect(scene.seen).toEqual(['drain', '0 builds', 'b1 reboots', 'resume'])
    expect([scene.mark, await drainedNow()]).toEqual(['none', [false]])
  })
})
