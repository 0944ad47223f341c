import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { vdiBytes } from '../../../providers/virtualbox/vdi.js'
import { createVdi } from '../../fakes/virtualbox/vdi.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-vdi-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

it('the size of a VDI file is read from its header, in whole MiB', () => {
  const path = join(folder, 'disk.vdi')
  createVdi(path, 16 * 1024 ** 2 + 512, crypto.randomUUID())
  expect(vdiBytes(path)).toBe(16 * 1024 ** 2)
})

it.each([
  ['short', 'QFI'],
  ['long', 'QFI'.padEnd(4096, 'x')],
])('a %s file that is not a VDI has no such size', (_, text) => {
  const path = join(folder, 'disk.qcow2')
  writeFileSync(path, text)
  expect(vdiBytes(path)).toBeUndefined()
})
