import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { hopeless, NixosGuest, sshd, sshdStops } from './guest.js'

let guest: NixosGuest
beforeAll(async () => {
  guest = await NixosGuest.start()
})
afterAll(() => guest?.dispose())
beforeEach(() => guest.reset())

describe('a switch on a guest', () => {
  it('makes a good system the boot default at the end, and leaves no timer and no root behind', async () => {
    const next = await guest.system('next', {
      services: sshd,
      units: { 'hello.service': '[Service]\nExecStart=/bin/sleep infinity\n' },
    })
    const { old } = guest
    const { end, begun } = await guest.activate(next)
    expect(end, begun.lines.join('\n')).toMatchObject({ kind: 'done' })
    expect(await guest.look()).toMatchObject({ current: next, profile: old, bootDefault: old })
    await guest.keep(end)
    const after = await guest.look()
    expect(after).toMatchObject({ current: next, booted: old, profile: next, bootDefault: next, timers: '0' })
    expect(after.seen.previous).toBe(old)
    expect(begun.record().activation).toBeUndefined()
  })

  it('goes back by itself if the new system has no sshd', async () => {
    const next = await guest.system('next', sshdStops)
    const { old } = guest
    const { end, begun } = await guest.activate(next, {}, hopeless)
    expect(end, begun.lines.join('\n')).toMatchObject({
      code: 'WENT_BACK',
      message: expect.stringContaining("machine 'web' went back to its old system"),
    })
    expect(await guest.look()).toMatchObject({ current: old, profile: old, bootDefault: old })
    expect(begun.record().activation).toBeUndefined()
  })
})
