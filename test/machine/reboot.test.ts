import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { failure, interrupted, unreachable } from '../../src/core/errors.js'
import { rebootMachines } from '../../src/operations/power.js'
import { exit, succeed } from '../fakes/fake-ssh.js'
import { type Deployed, deployed } from '../operations/deployed.js'

let world: Deployed
beforeEach(async () => {
  world = await deployed()
})
afterEach(() => world.ops.cleanup())

const reboot = () =>
  rebootMachines(world.ops, { deployment: undefined, selection: { on: 'web' }, maxConcurrent: 1 })

/** Sets the boot ids that the machine reports, one for each look; the last one stays. */
function bootIds(...looks: (() => ReturnType<typeof succeed>)[]): void {
  let at = 0
  world.ops.ssh.answer('read the boot id', () => {
    const look = looks[Math.min(at, looks.length - 1)]
    at += 1
    return look?.() ?? exit(1)
  })
}

const before = () => succeed('boot-1\n')
const after = () => succeed('boot-2\n')

describe('a reboot', () => {
  it('is over when the boot id changed; the stages of the machine in between are waited for', async () => {
    const deadline = () => {
      throw failure('DEADLINE', 'it did not end in time')
    }
    const killed = () => ({ kind: 'killed', signal: 'TERM', stdout: '', stderr: '' }) as const
    bootIds(before, deadline, killed, before, after)
    world.ops.ssh.answer('reboot', { kind: 'lost', stdout: '', stderr: '' })
    expect(await reboot()).toMatchObject([{ machine: 'web', outcome: 'changed' }])
    const { machines } = await world.ops.store.resolve(undefined)
    expect(Object.values(machines).map(({ facts }) => facts?.bootId)).toContain('boot-2')
  })

  it('waits while nothing answers', async () => {
    bootIds(before, after)
    let attempts = 0
    world.ops.ssh.answer('reboot', () => {
      world.ops.ssh.waitForBanner = async () => {
        attempts += 1
        if (attempts === 1) throw unreachable('web', 'nothing answers')
      }
      return succeed()
    })
    expect(await reboot()).toMatchObject([{ outcome: 'changed' }])
    expect(attempts).toBe(2)
  })

  it.each([
    ['answers with the same boot id', () => {}],
    [
      'does not answer',
      () => {
        throw unreachable('web', 'nothing answers')
      },
    ],
  ] as const)('ends at its deadline while the machine %s', async (_, look) => {
    bootIds(before)
    const { now } = Date
    let late = 0
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => now() + late)
    let looks = 0
    world.ops.ssh.answer('reboot', () => {
      // Each look takes 100 s of the clock.
      world.ops.ssh.waitForBanner = async () => {
        late += 100_000
        looks += 1
        if (looks === 10) throw new Error('the wait has no end')
        look()
      }
      return succeed()
    })
    const { machines } = await world.ops.store.resolve(undefined)
    try {
      expect(await reboot()).toMatchObject([
        {
          outcome: 'failed',
          reason: expect.stringContaining("'web' did not come back with a new boot id within 300 s"),
          hint: 'hydra-ops console web --log',
        },
      ])
    } finally {
      clock.mockRestore()
    }
    expect(looks).toBe(3)
    expect((await world.ops.store.resolve(undefined)).machines).toEqual(machines)
  })

  it('is an interruption when the wait for it is interrupted', async () => {
    const controller = new AbortController()
    Object.assign(world.ops, { signal: controller.signal })
    bootIds(before)
    world.ops.ssh.answer('reboot', () => {
      setImmediate(() => controller.abort(interrupted()))
      return succeed()
    })
    await expect(reboot()).rejects.toMatchObject({ code: 'INTERRUPTED', exitCode: 130 })
  })

  it('ends at once when another machine answers', async () => {
    bootIds(before, after)
    world.ops.ssh.answer('reboot', () => {
      world.ops.ssh.hostKeys.set('web', 'ssh-ed25519 AAAAother')
      return succeed()
    })
    const [row] = await reboot()
    expect(row).toMatchObject({ outcome: 'failed', reason: expect.stringContaining('its host key changed') })
  })

  it('names the machine when it cannot begin', async () => {
    bootIds(() => exit(1, 'No such file'))
    const [row] = await reboot()
    expect(row).toMatchObject({ outcome: 'failed', reason: expect.stringContaining("'web'") })
  })

  it('asks for the password of sudo once, also for the keys that it sends again', async () => {
    await world.change('web', { keys: { token: '/run/keys/token' } })
    bootIds(before, after)
    world.ops.ssh.answer('reboot', succeed())
    world.ops.ssh.answer('remove dropped keys', succeed())
    world.ops.ssh.answer('give users access to the folders of their keys', succeed())
    let asked = 0
    const secret = async () => {
      asked += 1
      return 'the password'
    }
    Object.assign(world.ops, { questions: { ...world.ops.questions, secret } })
    const { connect } = world.ops.ssh
    let connections = 0
    world.ops.ssh.connect = async (target, options) => {
      connections += 1
      expect(await options.sudoPassword?.()).toBe('the password')
      return connect(target, options)
    }
    const [row] = await reboot()
    expect(row?.reason).toBeUndefined()
    expect(row?.outcome).toBe('changed')
    expect(connections).toBe(2)
    expect(asked).toBe(1)
  })
})
