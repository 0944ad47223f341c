import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { unreachable } from '../../../src/core/errors.js'
import { StorePath } from '../../../src/core/names.js'
import { connect } from '../../../src/machine/connect.js'
import { bootOnce, takeOverBootOnce } from '../../../src/systems/nixos/boot-once.js'
import { nixosActivation } from '../../../src/systems/nixos/places.js'
import { createFakeSsh, type FakeSsh, succeed } from '../../fakes/fake-ssh.js'
import { fakeTarget } from '../../fakes/fake-target.js'
import { type NixosSession, nixosSession } from '../../fakes/nixos-session.js'

const old = StorePath.parse(`/nix/store/${'a'.repeat(32)}-nixos-system-web`)
const next = StorePath.parse(`/nix/store/${'b'.repeat(32)}-nixos-system-web`)
const activation = nixosActivation('r1', next, 'boot-1')
const times = { fallback: 60, hang: 5 }

/** A made-up machine and its one-time boot. */
interface Machine {
  boot: string
  current: string
  entered: boolean
  state: 'none' | 'armed' | 'confirmed' | 'fired'
  obstacle: string
  prepared: string
  /** Makes the changes that a reboot would make. */
  reboot(): void
}

let machine: Machine
let ssh: FakeSsh
let begun: NixosSession

const enter = () => Object.assign(machine, { boot: 'boot-2', current: next, entered: true })
const goBack = (boot = 'boot-3') => Object.assign(machine, { boot, current: old, entered: false })

beforeEach(async () => {
  machine = {
    boot: 'boot-1',
    current: old,
    entered: false,
    state: 'armed',
    obstacle: '',
    prepared: '0',
    reboot: enter,
  }
  ssh = createFakeSsh()
  begun = await nixosSession(ssh, fakeTarget('web'))
  await connect(begun.session)
  ssh.answer('look at the boot loader', () => succeed(`loader=grub\nobstacle=${machine.obstacle}\n`))
  ssh.answer('read the facts of the machine', () => succeed(`boot_id=${machine.boot}\nprofile=${old}\n`))
  ssh.answer('prepare a boot of the new system', succeed())
  ssh.answer('follow the activation', () =>
    succeed(`state Id=x\nfile prepared ${machine.prepared}\nboot ${machine.boot}\n`),
  )
  ssh.answer('reboot', () => {
    machine.reboot()
    return succeed()
  })
  ssh.answer('confirm the boot of the new system', () => {
    const won = machine.entered && machine.state !== 'fired'
    if (won) machine.state = 'confirmed'
    const { boot, current, entered, state } = machine
    const yes = (what: boolean) => (what ? 'yes' : 'no')
    return succeed(
      `boot=${boot}\ncurrent=${current}\nentered=${yes(entered)}\nstate=${state}\nwon=${yes(won)}\n`,
    )
  })
  ssh.answer('remove the boot of the new system from the boot menu', succeed())
})
afterEach(() => begun.ops.cleanup())

const going = () => ({ session: begun.session, activation, progress: { lines: 0 } })
const boot = () => bootOnce(going(), times).catch((error: unknown) => error)
const takeOver = () => takeOverBootOnce(going(), times).catch((error: unknown) => error)
const scripts = () => ssh.execs.map(({ scriptName, what }) => scriptName?.replace('nixos/', '') ?? what)
const removal = () => ssh.execs.find(({ scriptName }) => scriptName === 'nixos/boot-forget')?.values

describe('a one-time boot', () => {
  it('is confirmed over a login to the new boot, and leaves nothing but that boot', async () => {
    expect(await boot()).toEqual({ ...activation, bootId: 'boot-2' })
    expect(scripts()).toEqual([
      'boot-check',
      'survey',
      'boot-start',
      'follow',
      'reboot',
      'boot-confirm',
      'boot-forget',
    ])
    // `keep` writes the menu of the new system.
    expect(removal()).toMatchObject({ menu: 'false' })
    expect(begun.journal).toEqual(['boot-once.start', 'boot-once.reboot', 'boot-once.confirmed'])
    expect(begun.record().facts.bootId).toBe('boot-2')
  })

  it('never touches a machine whose boot loader cannot do it, and says why', async () => {
    machine.obstacle = 'GRUB cannot write to the file system btrfs of /boot'
    expect(await boot()).toMatchObject({
      code: 'BOOT_ONCE',
      message:
        "machine 'web' cannot boot the new system once: GRUB cannot write to the file system btrfs of /boot; nothing was rebooted",
      hint: expect.stringContaining('--no-boot-once'),
    })
    expect(scripts()).toEqual(['boot-check'])
  })

  it('is taken back without a reboot if it cannot be prepared', async () => {
    machine.prepared = '1 the boot menu could not be made (status 1)'
    expect(await boot()).toMatchObject({
      code: 'BOOT_ONCE',
      message: expect.stringContaining(': the boot menu could not be made (status 1); nothing was rebooted'),
    })
    expect(scripts().slice(-2)).toEqual(['follow', 'boot-forget'])
    expect(removal()).toMatchObject({ menu: 'true' })
  })

  it.each([
    ['armed', 'the boot of the new system ended before a login, for example by a panic or a power cut'],
    ['fired', 'nobody confirmed the new system in time'],
  ] as const)('says what led back to the old system where its file is “%s”', async (state, why) => {
    machine.reboot = () => Object.assign(goBack(), { state })
    expect(await boot()).toMatchObject({
      code: 'WENT_BACK',
      message: `machine 'web' went back to its old system by rebooting: ${why}`,
    })
    expect(removal()).toMatchObject({ menu: 'true' })
    expect(begun.journal.at(-1)).toBe('boot-once.back')
  })

  it('waits for the old system if the login comes after the fallback', async () => {
    machine.reboot = () => Object.assign(enter(), { state: 'fired' })
    let answers = 0
    const real = ssh.connect
    ssh.connect = async (...given) => {
      answers += 1
      if (answers === 3) goBack()
      return real(...given)
    }
    expect(await boot()).toMatchObject({ code: 'WENT_BACK' })
  })

  it('logs in again where a login fails, and names the last failure if nobody confirms', async () => {
    machine.reboot = () => {
      const real = ssh.connect
      ssh.connect = async (...given) => {
        ssh.connect = real
        Object.assign(goBack(), { state: 'fired' })
        expect(given.length).toBeGreaterThan(0)
        throw unreachable('web', 'its host key changed')
      }
    }
    expect(await boot()).toMatchObject({
      message: expect.stringContaining('nobody confirmed the new system in time: its host key changed'),
    })
  })
})

describe('a machine that hangs in a one-time boot', () => {
  const hang = () => {
    const real = ssh.connect
    ssh.connect = async () => {
      throw unreachable('web', 'nothing answers')
    }
    return () => {
      ssh.connect = real
    }
  }

  it('gets its power cut by its provider, and the old system boots', async () => {
    const power: string[] = []
    let wake = () => {}
    machine.reboot = () => {
      wake = hang()
    }
    const { session } = begun
    const provider: typeof session.provider = {
      ...session.provider,
      makesMachines: true,
      stop: async (_resource, { graceMs }) => {
        power.push(`stop after ${graceMs} ms`)
      },
      start: async () => {
        power.push('start')
        goBack()
        wake()
        return undefined
      },
    }
    const end = await bootOnce(
      { ...going(), session: { ...session, provider } },
      { ...times, hang: 0.2 },
    ).catch((error: unknown) => error)
    expect(end).toMatchObject({
      code: 'WENT_BACK',
      message: expect.stringContaining('the machine did not come up within 0.2 s, so its power was cut'),
    })
    expect(power).toEqual(['stop after 0 ms', 'start'])
  })

  it('needs a hand where the provider cannot cut the power, and the error says what the hand brings', async () => {
    machine.reboot = () => void hang()
    const end = await bootOnce(going(), { ...times, hang: 0.2 }).catch((error: unknown) => error)
    expect(end).toMatchObject({
      code: 'REBOOT',
      message: expect.stringMatching(/did not come up within 0.2 s, and provider \w+ cannot cut its power$/),
      hint: expect.stringContaining('its next boot starts the old system'),
    })
    expect(removal()).toBeUndefined()
  })
})

describe('a process that finds a one-time boot of an earlier one', () => {
  it('confirms the boot by its own login', async () => {
    enter()
    expect(await takeOver()).toEqual({ ...activation, bootId: 'boot-2' })
    expect(removal()).toMatchObject({ menu: 'false' })
  })

  it('removes a boot that was only prepared', async () => {
    expect(await takeOver()).toBeUndefined()
    expect(removal()).toMatchObject({ menu: 'true' })
  })

  it('says that the machine went back', async () => {
    Object.assign(goBack(), { state: 'fired' })
    expect(await takeOver()).toMatchObject({ code: 'WENT_BACK' })
  })

  it('does nothing to a machine without such a boot', async () => {
    machine.state = 'none'
    expect(await takeOver()).toBeUndefined()
    expect(removal()).toBeUndefined()
  })
})
