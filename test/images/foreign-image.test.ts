import { afterEach, expect, it, vi } from 'vitest'
import { download } from '../../src/images/foreign-image.js'

afterEach(() => {
  vi.unstubAllGlobals()
})

it('a download that was cancelled before it began contacts nobody', async () => {
  const asked: boolean[] = []
  // The stub throws before its request if the signal is aborted, like the real fetch.
  vi.stubGlobal('fetch', async (_url: string, { signal }: { signal: AbortSignal }) => {
    signal.throwIfAborted()
    asked.push(true)
    return new Response('an image')
  })
  const image = { url: 'http://images.example/disk.raw', sha256: '0'.repeat(64) }
  const run = { signal: AbortSignal.abort(), log: () => {} }
  await expect(download(image, '/dev/null/nowhere', run)).rejects.toMatchObject({ code: 'INTERRUPTED' })
  expect(asked).toEqual([])
})
