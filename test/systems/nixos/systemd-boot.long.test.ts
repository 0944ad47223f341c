import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { bootOnce, lookAtBootLoader, takeOverBootOnce } from '../../../src/systems/nixos/boot-once.js'
import { recordingRun } from '../../fakes/fake-target.js'
import type { Loader } from '../../fixtures/nixos-system/nixos-system.js'
import { NixosGuest, sshd } from './guest.js'
import { OneTimeBoots, times } from './one-time-boots.js'

let guest: NixosGuest
let boots: OneTimeBoots

/** Gives the tests of a group a guest with real EFI firmware and a real systemd-boot. */
function useGuest(loader: Loader): void {
  beforeAll(async () => {
    guest = await NixosGuest.start({ loader })
    boots = new OneTimeBoots(guest)
  })
  afterAll(() => guest?.dispose())
  beforeEach(() => guest.reset())
}

const look = () => lookAtBootLoader(guest.guest.host, recordingRun())

/** Tells which files a guest has in the menu of systemd-boot. */
const entries = async () => (await guest.sh('ls /boot/loader/entries')).split('\n')

/** Cuts the power, and expects that the boot ends in the old system. */
async function expectBackAfterPowerCut(going: Parameters<typeof takeOverBootOnce>[0]): Promise<void> {
  await guest.cutPower()
  const { old } = guest
  expect(await guest.look()).toMatchObject({ current: old, booted: old, profile: old, bootDefault: old })
  const later = await guest.begin({ run: 'r2' })
  await expect(takeOverBootOnce({ ...going, session: later.session }, times)).rejects.toMatchObject({
    code: 'WENT_BACK',
  })
  await boots.expectOld()
}

describe('a boot that happens once by systemd-boot, with the menu of NixOS up to 26.05,', () => {
  useGuest('systemd-boot')

  it('makes the new system the boot default after a login confirmed the boot', async () => {
    expect(await look()).toEqual({ loader: 'systemd-boot', obstacle: undefined })
    const next = await guest.system('next', { services: sshd, kernel: 'kernel 2' })
    await boots.confirmAndKeep(next)
    expect(await entries()).toEqual(['nixos-generation-1.conf', 'nixos-generation-2.conf'])
    await guest.cutPower()
    const all = { current: next, booted: next, profile: next, bootDefault: next }
    expect(await guest.look()).toMatchObject(all)
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

  it.each(['armed', 'entry'])(
    'is never entered if the power is cut after the step “%s” of its preparation',
    async (step) => {
      const next = await guest.system('early', { services: sshd })
      const { going } = await boots.begin(next)
      await boots.prepareUntil(going, 'systemd-boot', step)
      await expectBackAfterPowerCut(going)
    },
  )

  it('is entered once, with its fallback, if the power is cut after its preparation', async () => {
    const next = await guest.system('late', { services: sshd })
    const { going } = await boots.begin(next)
    await boots.prepareUntil(going, 'systemd-boot', 'next')
    await guest.cutPower()
    expect(await guest.look()).toMatchObject({ current: next, bootDefault: guest.old, timers: '1' })
    await expectBackAfterPowerCut(going)
  })

  it('is refused if the variables of the firmware cannot be written, or are missing', async () => {
    await guest.sh('mount -o remount,ro /sys/firmware/efi/efivars')
    expect((await look()).obstacle).toBe('the variables of its firmware are read-only')
    await guest.sh('umount /sys/firmware/efi/efivars')
    expect((await look()).obstacle).toBe(
      'its firmware has no EFI variables, or /sys/firmware/efi/efivars is not mounted',
    )
  })

  it('is refused if a variable of the firmware chooses another boot default', async () => {
    const { old } = guest
    const other = await guest.system('other', { services: sshd })
    await guest.sh(
      `nix-env -p /nix/var/nix/profiles/system --set "$1"; nix-env -p /nix/var/nix/profiles/system --set "$2"
"$2/bin/switch-to-configuration" boot; bootctl set-default nixos-generation-2.conf`,
      other,
      old,
    )
    expect(await guest.look()).toMatchObject({ profile: old, bootDefault: other })
    const next = await guest.system('next', { services: sshd })
    const { going } = await boots.begin(next)
    await expect(bootOnce(going, times)).rejects.toMatchObject({
      code: 'BOOT_ONCE',
      message: expect.stringContaining(`the boot menu starts ${other}, and not ${old}`),
    })
    await boots.expectNoRemains()
  })
})

describe('a boot that happens once by systemd-boot, with the menu of NixOS 26.11 and boot counting,', () => {
  useGuest('boot-counting')

  it('makes the new system the boot default, whose next boot is counted', async () => {
    const next = await guest.system('next', { services: sshd, kernel: 'kernel 2' })
    await boots.confirmAndKeep(next)
    const counted = (await entries()).filter((name) => name.includes('+'))
    expect(counted).toEqual([expect.stringMatching(/^nixos-[0-9a-f]{64}\+3\.conf$/)])
    await guest.cutPower()
    const all = { current: next, booted: next, profile: next, bootDefault: next }
    expect(await guest.look()).toMatchObject(all)
    expect((await entries()).filter((name) => name.includes('+'))).toEqual([])
  })

  it('ends in the old system if the new one has no sshd', async () => {
    await boots.expectBackWithoutSshd()
  })

  it('is entered once if the power is cut after its preparation', async () => {
    const next = await guest.system('late', { services: sshd })
    const { going } = await boots.begin(next)
    await boots.prepareUntil(going, 'systemd-boot', 'next')
    await guest.cutPower()
    expect(await guest.look()).toMatchObject({ current: next, bootDefault: guest.old })
    await expectBackAfterPowerCut(going)
  })
})
