import { getEventListeners } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { withDeadline } from '../../src/core/deadline.js'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

describe('a signal with a deadline', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('fires when the time is over, and tells a deadline from a cancel', () => {
    const cancel = new AbortController()
    const late = withDeadline(cancel.signal, 500)
    vi.advanceTimersByTime(499)
    expect([late.signal.aborted, late.expired()]).toEqual([false, false])
    vi.advanceTimersByTime(1)
    expect([late.signal.aborted, late.expired()]).toEqual([true, true])
    expect(late.signal.reason).toMatchObject({
      name: 'TimeoutError',
      message: 'the deadline of 0.5 s has passed',
    })
  })

  it('fires with its parent signal, for the same reason, also when the parent fired before', () => {
    const cancel = new AbortController()
    const before = withDeadline(cancel.signal, 500)
    cancel.abort(new Error('Ctrl-C'))
    const after = withDeadline(cancel.signal, 500)
    vi.advanceTimersByTime(1_000)
    for (const each of [before, after])
      expect([each.signal.reason, each.expired()]).toEqual([cancel.signal.reason, false])
  })

  it('leaves no timer and no listener behind, however it ends', () => {
    const cancel = new AbortController()
    for (let round = 0; round < 20; round += 1) withDeadline(cancel.signal, 500).stop()
    expect(getEventListeners(cancel.signal, 'abort')).toHaveLength(0)
    withDeadline(cancel.signal, 500)
    vi.advanceTimersByTime(500)
    expect(getEventListeners(cancel.signal, 'abort')).toHaveLength(0)
    withDeadline(cancel.signal, 500)
    cancel.abort()
    expect(getEventListeners(cancel.signal, 'abort')).toHaveLength(0)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('does not fire once it is stopped', () => {
    const late = withDeadline(new AbortController().signal, 500)
    late.stop()
    vi.advanceTimersByTime(1_000)
    expect(late.signal.aborted).toBe(false)
  })
})

describe('the garbage collector', () => {
  /**
   * Says whether the signal fires after a garbage collection. Only the timer refers to the signal at that
   * time.
   */
  async function firesAfterCollection(make: () => AbortSignal): Promise<boolean> {
    const fired = new Promise<boolean>((resolve) => {
      make().addEventListener('abort', () => resolve(true))
    })
    await new Promise((resolve) => setTimeout(resolve, 5))
    collectGarbage()
    return Promise.race([fired, new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 100))])
  }

  it('keeps a deadline, but not the combination that Node offers', async () => {
    const { signal } = new AbortController()
    const plain = () => AbortSignal.any([signal, AbortSignal.timeout(50)])
    expect(await firesAfterCollection(plain)).toBe(false)
    expect(await firesAfterCollection(() => withDeadline(signal, 50).signal)).toBe(true)
  })
})
