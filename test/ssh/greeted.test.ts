import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { GreetedConnections } from '../../src/ssh/greeted.js'
import { sshTarget } from '../fixtures/sshd-target.js'

const target = (port: number) => sshTarget({ port })

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

describe('a connection that has shown its banner', () => {
  it('is handed over once, with the bytes that were read from it', () => {
    const kept = new GreetedConnections()
    const stream = new PassThrough()
    kept.keep(target(1), stream, Buffer.from('SSH-2.0-x\r\n'))
    expect(kept.take(target(2))).toBeUndefined()
    expect(kept.take(target(1))).toBe(stream)
    expect(String(stream.read())).toBe('SSH-2.0-x\r\n')
    expect(kept.take(target(1))).toBeUndefined()
    vi.advanceTimersByTime(60_000)
    expect(stream.destroyed).toBe(false)
  })

  it('ends when no login comes within two seconds', () => {
    const kept = new GreetedConnections()
    const stream = new PassThrough()
    kept.keep(target(1), stream, Buffer.from('x'))
    vi.advanceTimersByTime(2_001)
    expect(stream.destroyed).toBe(true)
    expect(kept.take(target(1))).toBeUndefined()
  })

  it('is not handed over after its end, and its error harms nobody', () => {
    const kept = new GreetedConnections()
    const stream = new PassThrough()
    kept.keep(target(1), stream, Buffer.from('x'))
    stream.emit('error', new Error('reset'))
    expect(stream.destroyed).toBe(true)
    expect(kept.take(target(1))).toBeUndefined()
    stream.emit('error', new Error('once more'))
  })

  it('gives way to a newer one of the same host, and to the sixteenth of other hosts', () => {
    const kept = new GreetedConnections()
    const streams = Array.from({ length: 18 }, () => new PassThrough())
    const [old, again, ...others] = streams
    if (old === undefined || again === undefined) throw new Error('no streams')
    kept.keep(target(1), old, Buffer.from('x'))
    kept.keep(target(1), again, Buffer.from('x'))
    expect([old.destroyed, again.destroyed]).toEqual([true, false])
    others.forEach((stream, index) => {
      kept.keep(target(index + 2), stream, Buffer.from('x'))
    })
    expect(again.destroyed).toBe(true)
    expect(others.filter(({ destroyed }) => destroyed)).toEqual([])
  })
})
