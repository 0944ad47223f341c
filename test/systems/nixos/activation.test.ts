import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { failure, unreachable } from '../../../src/core/errors.js'
import { StorePath } from '../../../src/core/names.js'
import type { CommandResult } from '../../../src/core/ssh.js'
import { connect } from '../../../src/machine/connect.js'
import { activateSystem } from '../../../src/systems/nixos/activation.js'
import type { Activated, ActivationOptions, Trial } from '../../../src/systems/system.js'
import { type FakeNixos, type NixosBehaviour, runFakeNixos } from '../../fakes/fake-nixos.js'
import { createFakeSsh, exit, type FakeSsh, succeed } from '../../fakes/fake-ssh.js'
import { fakeTarget } from '../../fakes/fake-target.js'
import { type NixosSession, nixosSession, recordedActivation } from '../../fakes/nixos-session.js'

const old = StorePath.parse(`/nix/store/${'a'.repeat(32)}-nixos-system-web`)
const next = StorePath.parse(`/nix/store/${'b'.repeat(32)}-nixos-system-web`)
const plain = { always: false, beforeTasks: false, again: false }
const lost: CommandResult = { kind: 'lost', stdout: '', stderr: '' }

const loop = ['0 a.service 1 auto-restart exit-code', '1 a.service 4 auto-restart exit-code']

let machine: FakeNixos
let ssh: FakeSsh
let begun: NixosSession

beforeEach(async () => {
  machine = { current: old, profile: old, boot: 'boot-1', files: new Map(), leftover: false, awaits: '' }
  ssh = createFakeSsh()
  begun = await nixosSession(ssh, fakeTarget('web'))
  await connect(begun.session)
})
afterEach(() => begun.ops.cleanup())

const behave = (behaviour: NixosBehaviour) => runFakeNixos(ssh, machine, { old, next }, behaviour)

function activate(options: Partial<ActivationOptions> = {}): Promise<unknown> {
  return activateSystem(begun.session, next, { ...plain, ...options }).catch((error: unknown) => error)
}

/** Activates a system that is expected to be on trial afterwards. */
async function onTrial(options: Partial<ActivationOptions> = {}): Promise<Activated & { trial: Trial }> {
  const activated = await activateSystem(begun.session, next, { ...plain, ...options })
  const { trial } = activated
  if (trial === undefined) throw new Error('the system is not on trial')
  return { ...activated, trial }
}

const scripts = () => ssh.execs.map(({ scriptName }) => scriptName?.replace('nixos/', ''))

describe('an activation', () => {
  it('confirms over a new connection, and leaves the boot default to the end of the trial', async () => {
    behave({})
    const isNew: (boolean | undefined)[] = []
    const { connect: connectTo } = ssh
    ssh.connect = (target, options) => {
      isNew.push(options.newConnection)
      return connectTo(target, options)
    }
    const { kind, trial } = await onTrial()
    expect(kind).toBe('done')
    expect(scripts()).toEqual(['survey', 'begin', 'follow', 'confirm', 'follow'])
    expect(ssh.connects).toEqual(['web', 'web'])
    expect(isNew).toEqual([true])
    expect(machine).toMatchObject({ current: next, profile: old })
    expect(begun.record().activation).toEqual(recordedActivation('r1', next, 'boot-1'))
    await trial.keep()
    expect(scripts().slice(5)).toEqual(['start-keep', 'follow', 'finish', 'survey'])
    expect(machine.profile).toBe(next)
    expect(begun.record().activation).toBeUndefined()
  })

  it('ends with the new system until the next boot if the trial is left', async () => {
    behave({})
    const { trial } = await onTrial()
    await trial.leave()
    expect(machine).toMatchObject({ current: next, profile: old })
    expect(scripts()).not.toContain('start-keep')
    expect(begun.record().activation).toBeUndefined()
  })

  it('can still be undone after its confirmation', async () => {
    behave({})
    const { trial } = await onTrial()
    await expect(trial.goBack('health check failed: port 80')).rejects.toMatchObject({
      code: 'WENT_BACK',
      message: "machine 'web' went back to its old system: health check failed: port 80",
    })
    expect(machine).toMatchObject({ current: old, profile: old })
    expect(begun.record().activation).toBeUndefined()
  })

  it('has the way back of the first activation if there are two', async () => {
    behave({ samples: loop })
    const { trial: first } = await onTrial({ beforeTasks: true })
    machine.files.clear()
    behave({ samples: loop })
    expect(await activate({ again: true, first, onDegraded: 'rollback' })).toMatchObject({
      code: 'WENT_BACK',
      message: "machine 'web' went back to its old system: units failed: a.service",
    })
    const begins = ssh.execs.filter(({ scriptName }) => scriptName === 'nixos/begin')
    expect(begins.map(({ values: { run, running, old: back } }) => [run, running, back])).toEqual([
      ['r1', old, old],
      ['r1-2', next, old],
    ])
    expect(machine).toMatchObject({ current: old, profile: old })
  })

  it('does not excuse a service that failed since the first of two activations', async () => {
    behave({ samples: loop })
    const { trial: first } = await onTrial({ beforeTasks: true })
    machine.files.clear()
    behave({ samples: loop, before: loop })
    expect(await activate({ again: true, first })).toMatchObject({ code: 'UNITS_FAILED' })
  })

  it('names its unit in the record before the machine is touched', async () => {
    behave({})
    ssh.answer('start the activation', () => {
      expect(begun.record().activation).toEqual(recordedActivation('r1', next, 'boot-1'))
      return exit(75, 'the activation of run r0 waits to be confirmed\n')
    })
    expect(await activate()).toMatchObject({
      code: 'BUSY',
      message: "machine 'web' is busy: the activation of run r0 waits to be confirmed; nothing was switched",
    })
    expect(machine.current).toBe(old)
  })

  it('reads the result although the connection was lost at the start', async () => {
    behave({})
    const begin = { answered: false }
    ssh.answer('start the activation', () => {
      machine.current = next
      machine.files
        .set('old', old)
        .set('armed', 'boot-1')
        .set('ended', '0')
        .set('watched', '1')
        .set('settled', '1')
      begin.answered = true
      return lost
    })
    expect(await activate()).toMatchObject({ kind: 'done' })
    expect(begin.answered).toBe(true)
  })

  it('waits for the guard if no login succeeds, and says why none did', async () => {
    behave({ guardWins: true })
    const real = ssh.connect
    let attempts = 0
    ssh.connect = async (...given) => {
      attempts += 1
      if (attempts === 1) throw failure('HOST_KEY', 'its host key changed')
      return real(...given)
    }
    expect(await activate()).toMatchObject({
      code: 'WENT_BACK',
      message:
        "machine 'web' went back to its old system: a new login to the new system failed: its host key changed",
    })
    expect(machine.profile).toBe(old)
    expect(scripts()).not.toContain('start-keep')
    expect(begun.record().activation).toBeUndefined()
  })

  it('says the same if the connection is lost during the switch and no login succeeds until the guard is done', async () => {
    behave({ guardWins: true })
    const answer = { count: 0 }
    const real = ssh.connect
    ssh.connect = async (...given) => {
      if (answer.count === 1) {
        answer.count += 1
        throw unreachable('web', 'nothing answers')
      }
      return real(...given)
    }
    ssh.answer('start the activation', ({ values }) => {
      machine.files
        .set('old', values.old ?? '')
        .set('ended', '0')
        .set('watched', '1')
        .set('fired', '')
        .set('guard-result', 'back 0 1')
      return succeed()
    })
    const lostOnce = () => {
      answer.count += 1
      return lost
    }
    const seen = [
      'state Id=x',
      'state LoadState=not-found',
      `file old ${old}`,
      'file ended 0',
      'file fired ',
      'file guard-result back 0 1',
      'boot boot-1',
      `current ${old}`,
    ]
    ssh.answer('follow the activation', () => (answer.count === 0 ? lostOnce() : succeed(seen.join('\n'))))
    expect(await activate()).toMatchObject({
      message:
        "machine 'web' went back to its old system: a new login to the new system failed: nothing answers",
    })
  })

  it('says that the way back was a reboot, and which system runs if it is another one', async () => {
    behave({ guardWins: true, guard: 'reboot 1 3' })
    expect(await activate()).toMatchObject({
      message:
        "machine 'web' went back to its old system by rebooting (the activation of the old system ended with status 1): nobody confirmed the new system in time",
    })
    machine.files.clear()
    behave({ guardWins: true, guard: 'none 1 3' })
    machine.boot = 'boot-1'
    expect(await activate()).toMatchObject({
      message: expect.stringContaining(`tried to go back to its old system, but runs ${next}`),
    })
  })

  it.each([1, 2, 3, 127])('goes back after status %s', async (status) => {
    behave({ status, switches: true })
    expect(await activate()).toMatchObject({
      code: 'WENT_BACK',
      message: expect.stringContaining(`switch-to-configuration ended with status ${status}`),
    })
    expect(scripts()).not.toContain('confirm')
    expect(machine).toMatchObject({ current: old, profile: old })
  })

  it('removes the guard if another switch holds the lock, and switches nothing', async () => {
    behave({ status: 11 })
    expect(await activate()).toMatchObject({
      code: 'BUSY',
      message: expect.stringContaining('another switch holds the lock'),
    })
    expect(machine.files.has('abandoned')).toBe(true)
    expect(scripts()).not.toContain('undo')
  })

  it('makes a system that only a boot can enter the boot default, and asks for the reboot', async () => {
    behave({ status: 100 })
    const { trial, rebootReason } = await onTrial()
    expect(rebootReason).toBe('reboot needed: only a boot can enter the new system')
    expect(machine).toMatchObject({ current: old, profile: old })
    expect(await trial.keep()).toEqual({ rebootReason })
    expect(machine).toMatchObject({ current: old, profile: next })
  })

  it('says that the new system runs if its boot menu could not be written', async () => {
    behave({ kept: '0 1' })
    const { trial } = await onTrial()
    await expect(trial.keep()).rejects.toMatchObject({
      code: 'ACTIVATION',
      message: expect.stringContaining('it did not become the boot default (the boot menu: status 1)'),
    })
  })

  it('reports that a reboot of the machine ended it', async () => {
    behave({})
    ssh.answer('start the activation', () => {
      machine.boot = 'boot-2'
      return lost
    })
    expect(await activate()).toMatchObject({
      code: 'ACTIVATION_UNKNOWN',
      message: expect.stringContaining(
        `the machine was restarted during the activation; the machine runs ${old}`,
      ),
    })
    expect(begun.record().activation).toBeUndefined()
  })
})

describe('a degraded system', () => {
  it('runs, and does not become the boot default', async () => {
    behave({ samples: loop })
    expect(await activate()).toMatchObject({
      code: 'UNITS_FAILED',
      message: `machine 'web' runs the new system, but units failed: a.service; the boot default stays ${old}`,
      detail: expect.stringContaining('a.service restarted 3 times after the switch'),
    })
    expect(machine).toMatchObject({ current: next, profile: old })
    expect(machine.files.has('confirmed')).toBe(true)
  })

  it('becomes the boot default where it is to be kept', async () => {
    behave({ samples: loop })
    const { trial, degraded } = await onTrial({ onDegraded: 'keep' })
    expect(degraded?.message).toContain('it is the boot default too')
    await trial.keep()
    expect(machine.profile).toBe(next)
  })

  it('makes place for the old one where that is wanted', async () => {
    behave({ status: 4, log: ['warning: the following units failed: a.service'] })
    expect(await activate({ onDegraded: 'rollback' })).toMatchObject({ code: 'WENT_BACK' })
    expect(machine.current).toBe(old)
  })

  it('is left to set-up tasks that follow', async () => {
    behave({ samples: loop })
    expect(await activate({ beforeTasks: true })).toMatchObject({
      kind: 'unjudged',
      left: ['units failed: a.service'],
    })
    expect(machine.profile).toBe(old)
  })
})

describe('a part of an activation', () => {
  it('changes only the boot default for the mode `boot`', async () => {
    behave({})
    await (await onTrial({ mode: 'boot' })).trial.keep()
    expect(machine).toMatchObject({ current: old, profile: next })
    expect(machine.files.has('ended')).toBe(false)
  })

  it('leaves nothing to be kept after the mode `test`', async () => {
    behave({})
    expect(await activate({ mode: 'test' })).not.toHaveProperty('trial')
    expect(machine).toMatchObject({ current: next, profile: old })
  })

  it('changes nothing for the mode `dry-activate`, and sets no guard', async () => {
    behave({ switches: false })
    expect(await activate({ mode: 'dry-activate' })).toMatchObject({ kind: 'done' })
    expect(machine).toMatchObject({ current: old, profile: old })
    expect(ssh.execs.find(({ scriptName }) => scriptName === 'nixos/begin')?.values).toMatchObject({
      action: 'dry-activate',
      guarded: 'false',
    })
    expect(begun.session.changed).toBe(false)
  })

  it('is only the boot default if the system runs already, unless an interrupted switch left something', async () => {
    behave({})
    machine.current = next
    await activate()
    expect(machine.files.has('ended')).toBe(false)
    machine.files.clear()
    machine.leftover = true
    await activate()
    expect(machine.files.get('ended')).toBe('0')
  })

  it('judges a system that runs already anew if a service of that system is in trouble', async () => {
    behave({ samples: loop, before: loop })
    machine.current = next
    machine.restarted = 'a.service 4'
    expect(await activate()).toMatchObject({ code: 'UNITS_FAILED' })
    const [begin] = ssh.execs.filter(({ scriptName }) => scriptName === 'nixos/begin')
    expect(begin?.values).toMatchObject({ action: 'test', running: next, old })
  })
})
