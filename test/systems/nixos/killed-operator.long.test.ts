import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { StorePath } from '../../../src/core/names.js'
import { GuestDeploys } from './guest-deploys.js'
import { deaths } from './script-places.js'
import type { Place } from './stopping.js'

/*
 * Each test simulates the death of an operator's host while a script is right before a line. The test ends the
 * operator's connection, and kills the script some seconds later, as sshd does at the latest. The machine and its units
 * continue. The next operator deploys meanwhile.
 */

let deploys: GuestDeploys
beforeAll(async () => {
  deploys = await GuestDeploys.start()
})
afterAll(() => deploys?.guest.dispose())
beforeEach(() => deploys.reset())

function dieAt(place: Place, path: StorePath): Promise<void> {
  return deploys.stopAt(place, path, 'sleep 2; kill -KILL $$', async () => {})
}

describe('an operator who dies during a switch', () => {
  it.each(deaths.untilKeep)(
    'leaves the old boot default, and the next deploy ends the work: $script: $line',
    async (place) => {
      await dieAt(place, deploys.next)
      const { old } = deploys.guest
      expect(await deploys.guest.look()).toMatchObject({ profile: old, bootDefault: old })
      await deploys.expectConverged(deploys.next)
    },
  )

  it.each(deaths.afterKeep)(
    'leaves the new boot default, and the next deploy ends the work: $script: $line',
    async (place) => {
      await dieAt(place, deploys.next)
      const { next } = deploys
      expect(await deploys.guest.look()).toMatchObject({ current: next, profile: next, bootDefault: next })
      await deploys.expectConverged(next)
    },
  )

  it.each(deaths.undo)(
    'before the guard goes back leaves the old boot default, and the next deploy works: $line',
    async (place) => {
      await dieAt(place, deploys.bad)
      const { old } = deploys.guest
      expect(await deploys.guest.look()).toMatchObject({ profile: old, bootDefault: old })
      await deploys.expectConverged(deploys.next)
    },
  )
})

describe('an operator who dies during a one-time boot', () => {
  it.each(deaths.bootOnce)(
    'leaves the old boot default, and the next deploy ends the work: $script: $line',
    async (place) => {
      await dieAt(place, deploys.kernel)
      const { old } = deploys.guest
      expect(await deploys.guest.look()).toMatchObject({ profile: old, bootDefault: old })
      await deploys.expectConverged(deploys.kernel)
    },
  )
})
