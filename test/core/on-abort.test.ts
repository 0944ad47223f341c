import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { onAbort } from '../../src/core/on-abort.js'

describe('an action for a signal', () => {
  it('is called once when the signal fires, and no listener remains', () => {
    const cancel = new AbortController()
    let calls = 0
    onAbort(cancel.signal, () => {
      calls += 1
    })
    cancel.abort()
    expect([calls, getEventListeners(cancel.signal, 'abort').length]).toEqual([1, 0])
  })

  it('is also called for a signal that had fired before', () => {
    const seen: string[] = []
    const stopListening = onAbort(AbortSignal.abort(), () => seen.push('called'))
    stopListening()
    expect(seen).toEqual(['called'])
  })

  it('is not called once its listener is removed', () => {
    const cancel = new AbortController()
    const seen: string[] = []
    onAbort(cancel.signal, () => seen.push('called'))()
    cancel.abort()
    expect(seen).toEqual([])
  })
})
