import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { StorePath } from '../../../src/core/names.js'
import { hostOf } from '../../../src/machine/connect.js'
import type { MachineSession } from '../../../src/machine/machine.js'
import { runScript } from '../../../src/remote/run-script.js'
import { bootOnce, prepareScript, takeOverBootOnce } from '../../../src/systems/nixos/boot-once.js'
import { nixosActivation } from '../../../src/systems/nixos/places.js'
import { beginActivation, startKeep, usualTimes } from '../../../src/systems/nixos/steps.js'
import { NixosGuest, sshd } from './guest.js'

/** Times that a boot of an emulated guest on a busy host never needs. */
const times = { fallback: 1_500, hang: 1_600 }
/** Times for a boot that nobody can confirm. The hang ends before the fallback could. */
const [hopeless, hanging] = [
  { fallback: 60, hang: 1_600 },
  { fallback: 1_500, hang: 60 },
]

/** Steps of the preparation, as its script names them. */
const prepareSteps = [
  'boot-loader',
  'fallback',
  'profile',
  'files',
  'units',
  'armed',
  'generation',
  'menu',
  'entry',
]

let guest: NixosGuest
beforeAll(async () => {
  guest = await NixosGuest.start()
})
afterAll(() => guest?.dispose())
beforeEach(() => guest.reset())

/** Starts an activation that waits for a boot. */
async function begin(next: StorePath) {
  const begun = await guest.begin()
  const { session } = begun
  const { seen } = await guest.look()
  const activation = nixosActivation('r1', next, seen.survey.bootId)
  const owner = session.deployment.record.uuid
  const beginning = {
    running: guest.old,
    old: guest.old,
    owner,
    action: 'none' as const,
    guarded: false,
    times: usualTimes,
  }
  await beginActivation(hostOf(session), activation, beginning, session.run)
  return { begun, going: { session, activation, progress: { lines: 0 } } }
}

/** Gives a session the power switch of the guest. */
function withPower(session: MachineSession): MachineSession {
  const provider: MachineSession['provider'] = {
    ...session.provider,
    makesMachines: true,
    stop: () => guest.guest.guest.powerCut(),
    start: async () => {
      await guest.guest.guest.boot()
      return undefined
    },
  }
  return Object.create(session, { provider: { value: provider } })
}

/** Checks that the old system runs after a normal boot and is the boot default, and that nothing is left. */
async function expectOld(): Promise<void> {
  const { old } = guest
  expect(await guest.look()).toMatchObject({
    current: old,
    booted: old,
    profile: old,
    bootDefault: old,
    timers: '0',
  })
  await expectNoRemains()
  expect(await guest.sh('cat /proc/cmdline')).not.toContain('boot-once')
}

async function expectNoRemains(): Promise<void> {
  const left =
    await guest.sh(`ls /etc/systemd/system.control /var/lib/hydra-ops/boot-once 2> /dev/null || true
ls /nix/var/nix/profiles/system-profiles
grub-editenv /boot/grub/grubenv list | grep next_entry=. || true`)
  expect(left).toBe('')
}

describe('a boot that happens once', () => {
  it('enters the new system while the old one stays the boot default, until a login confirmed the new one', async () => {
    const next = await guest.system('next', { services: sshd })
    const { going } = await begin(next)
    const booted = await bootOnce(going, times)
    const { old } = guest
    expect(booted.bootId).not.toBe(going.activation.bootId)
    expect(await guest.look()).toMatchObject({ current: next, booted: next, profile: old, bootDefault: old })
    await expectNoRemains()
    const { session } = going
    await startKeep(hostOf(session), booted, old, session.run)
    await guest.until('test -e /var/lib/hydra-ops/activations/r1/kept')
    expect(await guest.look()).toMatchObject({
      current: next,
      booted: next,
      profile: next,
      bootDefault: next,
    })
    expect(await guest.sh('grep -c hydra_ops /boot/grub/grub.cfg || true')).toBe('0')
  })

  it('ends in the old system if the new one panics', async () => {
    const next = await guest.system('next', { services: sshd, boot: 'panic' })
    const { going } = await begin(next)
    await expect(bootOnce(going, times)).rejects.toMatchObject({
      code: 'WENT_BACK',
      message: expect.stringContaining('ended before a login, for example by a panic or a power cut'),
    })
    await expectOld()
  })

  it('ends in the old system if the new one has no sshd', async () => {
    const next = await guest.system('next')
    const { going } = await begin(next)
    await expect(bootOnce(going, hopeless)).rejects.toMatchObject({
      code: 'WENT_BACK',
      message: expect.stringContaining('nobody confirmed the new system in time'),
    })
    await expectOld()
  })

  it('ends in the old system by a power cut if the new one hangs', async () => {
    const next = await guest.system('next', { services: sshd, boot: 'hang' })
    const { going } = await begin(next)
    await expect(bootOnce({ ...going, session: withPower(going.session) }, hanging)).rejects.toMatchObject({
      code: 'WENT_BACK',
      message: expect.stringContaining('did not come up within 60 s, so its power was cut'),
    })
    await expectOld()
  })

  it('ends in the old system if the power is cut in the new one before a login', async () => {
    const next = await guest.system('cut', { services: sshd })
    const { going } = await begin(next)
    const work = bootOnce(going, times).catch((error: unknown) => error)
    await guest.untilBoots(next)
    await guest.guest.guest.powerCut()
    await guest.guest.guest.boot()
    expect(await work).toMatchObject({
      code: 'WENT_BACK',
      message: expect.stringContaining('for example by a panic or a power cut'),
    })
    await expectOld()
  })

  it('is confirmed by a later process if the operator is gone after the reboot', async () => {
    const next = await guest.system('gone', { services: sshd })
    const { going, begun } = await begin(next)
    const work = bootOnce(going, times).catch((error: unknown) => error)
    await guest.untilBoots(next)
    begun.interrupt()
    expect(await work).toMatchObject({ code: 'INTERRUPTED' })
    await guest.until('true')
    const later = await guest.begin({ run: 'r2' })
    const seen = await takeOverBootOnce({ ...going, session: later.session }, times)
    expect(seen).toMatchObject({ path: next })
    await expectNoRemains()
    expect(await guest.look()).toMatchObject({ current: next, booted: next, bootDefault: guest.old })
  })

  it.each([
    ['the fallback is set', 'armed'],
    ['the menu lists the new system', 'entry'],
  ])('is never entered if the power is cut after %s', async (_, step) => {
    const next = await guest.system('early', { services: sshd })
    const { going } = await begin(next)
    const { prepareUnit: unit, log, folder } = going.activation
    const prepare = prepareScript(going.activation, { old: guest.old, loader: 'grub', times })
    const values = {
      unit,
      log,
      folder,
      old: guest.old,
      prepare: `steps_left=${prepareSteps.indexOf(step)}\n${prepare}`,
    }
    const { session } = going
    await runScript(hostOf(session), { what: 'prepare', script: 'nixos/boot-start', values }, session.run)
    await guest.until('grep -qx "step $1" "$2"', step, log)
    await guest.guest.guest.powerCut()
    await guest.guest.guest.boot()
    const { old } = guest
    expect(await guest.look()).toMatchObject({ current: old, booted: old, profile: old, bootDefault: old })
    const later = await guest.begin({ run: 'r2' })
    await expect(takeOverBootOnce({ ...going, session: later.session }, times)).rejects.toMatchObject({
      code: 'WENT_BACK',
    })
    await expectOld()
  })
})
