import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { KeptEnds } from '../../src/core/kept-ends.js'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

function kept(...chunks: string[]): string {
  const ends = new KeptEnds({ head: 4, tail: 6 })
  for (const chunk of chunks) ends.push(Buffer.from(chunk))
  return ends.text()
}

describe('the kept part of an endless output', () => {
  it('is all of it while the output is short', () => {
    expect(kept()).toBe('')
    expect(kept('ab', 'cd', 'efghij')).toBe('abcdefghij')
  })

  it('is its beginning and its end, with the size of the gap between them', () => {
    expect(kept('abcdefghijklmn')).toBe('abcd\n… 4 bytes left out …\nijklmn')
    expect(kept(...'abcdefghijklmn')).toBe('abcd\n… 4 bytes left out …\nijklmn')
    expect(kept('abc', 'defghijklmn', 'op')).toBe('abcd\n… 6 bytes left out …\nklmnop')
  })

  it('takes no more memory for a long output than for its ends', async () => {
    const chunk = 1024 * 1024
    const ends = new KeptEnds({ head: 4, tail: 6 })
    collectGarbage()
    const before = process.memoryUsage().arrayBuffers
    for (let at = 0; at < 100; at++) ends.push(Buffer.alloc(chunk, 'x'))
    // V8 frees the memory of buffers in another thread, some time after the collection.
    const growth = () => {
      collectGarbage()
      return process.memoryUsage().arrayBuffers - before
    }
    await expect.poll(growth, { timeout: 20_000 }).toBeLessThan(20 * chunk)
    expect(ends.text()).toContain('bytes left out')
  })
})
