import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { StorePath } from '../../../src/core/names.js'
import { GuestDeploys } from './guest-deploys.js'
import { cuts } from './script-places.js'
import type { Place } from './stopping.js'

/*
 * Each test cuts the power right before one line of a script, on a guest that boots from its own disk.
 *
 * The script stops there and reports so on the serial console. The test then kills QEMU with SIGKILL, some 50 ms later.
 * Writes that the guest's kernel had not made to its disk are lost. QEMU's own tables of the disk (qcow2) are lost as
 * far as QEMU had not written them. Writes that QEMU had handed to the host's kernel are not lost. The tests do not
 * simulate a disk that loses or reorders writes in its cache, nor a half-written sector.
 */

let deploys: GuestDeploys
beforeAll(async () => {
  deploys = await GuestDeploys.start()
})
afterAll(() => deploys?.guest.dispose())

/** Cuts the power at a place of a deploy. */
function cutAt(place: Place, path: StorePath): Promise<void> {
  return deploys.stopAt(place, path, 'sleep 100000', () => deploys.guest.cutPower())
}

const menu = 'the boot menu may lack the newest system; the next deploy fixes that'
const early = [...cuts.untilKeep, ...cuts.beforeProfile]

describe('a power cut before the new system is the boot default', () => {
  beforeAll(() => deploys.reset())

  it.each(early)('leads to the old system, at $script: $line', async (place) => {
    await cutAt(place, deploys.next)
    const notes = await deploys.expectOld()
    if (cuts.beforeProfile.includes(place)) expect(notes).toEqual([menu])
    else expect(notes.filter((each) => each !== menu)).toEqual([])
  })

  it('leaves nothing that hinders the next deploy', () => deploys.expectConverged(deploys.next))
})

describe('a power cut while the guard goes back', () => {
  beforeAll(() => deploys.reset())

  it.each(cuts.guard)('leads to the old system, at $script: $line', async (place) => {
    await cutAt(place, deploys.bad)
    expect(await deploys.expectOld()).toEqual([])
  })

  it('leaves nothing that hinders the next deploy', () => deploys.expectConverged(deploys.next))
})

describe('a power cut while the new system becomes the boot default', () => {
  beforeEach(() => deploys.reset())

  it.each(cuts.keep)('leaves a menu that boots, at $place.script: $place.line', async ({ place, boots }) => {
    await cutAt(place, deploys.next)
    const { guest, next } = deploys
    const { seen, current, booted, bootDefault, profile, timers } = await guest.look()
    const allowed = { old: [guest.old], next: [next], either: [guest.old, next] }[boots]
    expect(allowed).toContain(current)
    expect({ booted, bootDefault, timers }).toEqual({ booted: current, bootDefault: current, timers: '0' })
    expect([guest.old, next]).toContain(profile)
    // A machine with unfinished work never counts as deployed.
    if (current !== next || profile !== next) expect(seen.survey.profile).toBeUndefined()
    await deploys.expectConverged(deploys.next)
  })
})

describe('a power cut around a one-time boot', () => {
  describe('that was not begun', () => {
    beforeAll(() => deploys.reset())

    it.each([...cuts.preparation, cuts.entry, ...cuts.removal, ...cuts.menuAgain])(
      'leads to the old system, at $script: $line',
      async (place) => {
        await cutAt(place, deploys.kernel)
        expect(await deploys.expectOld()).toEqual([])
        expect(await deploys.guest.sh('cat /proc/cmdline')).not.toContain('boot-once')
        // The scripts at the next places need a one-time boot to remove.
        if (place.script === 'nixos/boot-forget') await cutAt(cuts.entry, deploys.kernel)
      },
    )

    it('leaves nothing that hinders the next deploy', () => deploys.expectConverged(deploys.kernel))
  })

  describe('that was', () => {
    beforeEach(() => deploys.reset())

    it('enters the new system once at the last step of the preparation, and the next deploy confirms it', async () => {
      await cutAt(cuts.next, deploys.kernel)
      const { guest, kernel } = deploys
      expect(await guest.look()).toMatchObject({
        current: kernel,
        booted: kernel,
        profile: guest.old,
        bootDefault: guest.old,
      })
      await deploys.expectConverged(deploys.kernel)
    })

    it.each([...cuts.confirmation, ...cuts.removal])(
      'leads to the old system, at $script: $line',
      async (place) => {
        await cutAt(place, deploys.kernel)
        expect(await deploys.expectOld()).toEqual([])
        await deploys.expectConverged(deploys.kernel)
      },
    )
  })
})
