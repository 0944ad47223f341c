import { describe, expect, it } from 'vitest'
import { Slots } from '../../src/ssh/slots.js'

const never = new AbortController().signal

/** Waits until everything that is ready has continued. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

describe('Slots', () => {
  it('never lets more in than its limit, and lets everybody in at last', async () => {
    const slots = new Slots(3)
    let inside = 0
    let most = 0
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        await slots.take(never)
        most = Math.max(most, ++inside)
        await settle()
        inside--
        slots.release()
      }),
    )
    expect(most).toBe(3)
    expect(slots.taken).toBe(0)
  })

  it('lets go of a waiter that is cancelled', async () => {
    const slots = new Slots(1)
    await slots.take(never)
    const cancel = new AbortController()
    const waiting = slots.take(cancel.signal)
    cancel.abort()
    await expect(waiting).rejects.toThrow('interrupted')
    slots.release()
    await slots.take(never)
    expect(slots.taken).toBe(1)
  })

  it('can shrink to the limit of a server and one less, but never to nothing', async () => {
    const slots = new Slots(8)
    for (const _ of [1, 2, 3, 4]) await slots.take(never)
    // The server refused the fourth channel, so its limit is three, and two may be used.
    slots.shrink()
    slots.release()
    let entered = false
    void slots.take(never).then(() => {
      entered = true
    })
    slots.release()
    await settle()
    expect(entered).toBe(false)
    slots.release()
    await settle()
    expect(entered).toBe(true)
    slots.shrink()
    slots.shrink()
    slots.release()
    slots.release()
    await slots.take(never)
    expect(slots.taken).toBe(1)
  })
})
