import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { localCommands } from '../../src/exec/local-commands.js'
import { createImageStore } from '../../src/images/store.js'

let root: string
let temporary: string
const inherited = process.env.TMPDIR
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'hydra-ops-build-'))
  // The separate folder hides other builds on this host. Users of the namespace must be able to enter the folder.
  temporary = mkdtempSync(join(tmpdir(), 'hydra-ops-tmp-'))
  chmodSync(temporary, 0o755)
  process.env.TMPDIR = temporary
})
afterEach(() => {
  if (inherited === undefined) delete process.env.TMPDIR
  else process.env.TMPDIR = inherited
  rmSync(root, { recursive: true })
  rmSync(temporary, { recursive: true })
})

/** Lists the folders in which mmdebstrap keeps its files during a build. */
function unpacked(): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith('hydra-ops-image-'))
}

it('a build that is interrupted half-way says so and leaves nothing behind', async () => {
  const controller = new AbortController()
  const seen: string[] = []
  let during: string[] = []
  const run = {
    signal: controller.signal,
    log: (line: string) => {
      seen.push(line)
      if (!line.startsWith('installing essential packages')) return
      during = unpacked()
      controller.abort()
    },
  }
  const store = createImageStore({ root, local: localCommands })
  await expect(store.ensure('debian-12-bare', run)).rejects.toMatchObject({ code: 'INTERRUPTED' })
  expect(seen).toContain('installing essential packages...')
  expect(await store.list()).toEqual([])
  expect(readdirSync(root)).toEqual(['.lock'])
  expect(during).toHaveLength(1)
  expect(unpacked()).toEqual([])
})

it('a silent mirror is named with the remedies', async () => {
  const env = { ...process.env, DEBIAN_MIRROR: 'http://127.0.0.1:9/debian' }
  const store = createImageStore({ root, local: localCommands, env })
  const run = { signal: new AbortController().signal, log: () => {} }
  await expect(store.ensure('debian-12-bare', run)).rejects.toMatchObject({
    code: 'IMAGE_BUILD',
    detail: expect.stringContaining('127.0.0.1'),
    hint: expect.stringContaining('DEBIAN_MIRROR'),
  })
  expect(readdirSync(root)).toEqual(['.lock'])
})
