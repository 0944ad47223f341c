import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { bootOnce, takeOverBootOnce } from '../../../src/systems/nixos/boot-once.js'
import { NixosGuest, sshd } from './guest.js'
import { OneTimeBoots, times } from './one-time-boots.js'

let guest: NixosGuest
let boots: OneTimeBoots
beforeAll(async () => {
  guest = await NixosGuest.start()
  boots = new OneTimeBoots(guest)
})
afterAll(() => guest?.dispose())
beforeEach(() => guest.reset())

describe('a boot that happens once', () => {
  it('enters the new system while the old one stays the boot default, until a login confirmed the new one', async () => {
    const next = await guest.system('next', { services: sshd })
    await boots.confirmAndKeep(next)
  })

  it('ends in the old system if the new one panics', async () => {
    await boots.expectBackAfterPanic()
  })

  it('ends in the old system if the new one has no sshd', async () => {
    await boots.expectBackWithoutSshd()
  })

  it('ends in the old system by a power cut if the new one hangs', async () => {
    await boots.expectBackAfterHang()
  })

  it('ends in the old system if the power is cut in the new one before a login', async () => {
    const next = await guest.system('cut', { services: sshd })
    const { going } = await boots.begin(next)
    const work = bootOnce(going, times).catch((error: unknown) => error)
    await guest.untilBoots(next)
    await guest.guest.guest.powerCut()
    await guest.guest.guest.boot()
    expect(await work).toMatchObject({
      code: 'WENT_BACK',
      message: expect.stringContaining('for example by a panic or a power cut'),
    })
    await boots.expectOld()
  })

  it('is confirmed by a later process if the operator is gone after the reboot', async () => {
    const next = await guest.system('gone', { services: sshd })
    const { going, begun } = await boots.begin(next)
    const work = bootOnce(going, times).catch((error: unknown) => error)
    await guest.untilBoots(next)
    begun.interrupt()
    expect(await work).toMatchObject({ code: 'INTERRUPTED' })
    await guest.until('true')
    const later = await guest.begin({ run: 'r2' })
    const seen = await takeOverBootOnce({ ...going, session: later.session }, times)
    expect(seen).toMatchObject({ path: next })
    await boots.expectNoRemains()
    expect(await guest.look()).toMatchObject({ current: next, booted: next, bootDefault: guest.old })
  })

  it.each([
    ['the fallback is set', 'armed'],
    ['the menu lists the new system', 'entry'],
  ])('is never entered if the power is cut after %s', async (_, step) => {
    const next = await guest.system('early', { services: sshd })
    const { going } = await boots.begin(next)
    await boots.prepareUntil(going, 'grub', step)
    await guest.guest.guest.powerCut()
    await guest.guest.guest.boot()
    const { old } = guest
    expect(await guest.look()).toMatchObject({ current: old, booted: old, profile: old, bootDefault: old })
    const later = await guest.begin({ run: 'r2' })
    await expect(takeOverBootOnce({ ...going, session: later.session }, times)).rejects.toMatchObject({
      code: 'WENT_BACK',
    })
    await boots.expectOld()
  })
})
