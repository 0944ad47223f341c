import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { writeIfChanged } from '../../src/core/write-if-changed.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-write-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe('a file for the system’s ssh', () => {
  it('is replaced by a new file, never overwritten, and left alone when it is correct', async () => {
    const file = join(folder, 'ssh', 'web.config')
    await writeIfChanged(file, 'first')
    const { ino, mode } = statSync(file)
    expect(mode & 0o777).toBe(0o600)
    await writeIfChanged(file, 'first')
    expect(statSync(file).ino).toBe(ino)
    await writeIfChanged(file, 'second')
    expect(statSync(file).ino).not.toBe(ino)
    expect(readFileSync(file, 'utf8')).toBe('second')
    expect(readdirSync(join(folder, 'ssh'))).toEqual(['web.config'])
  })

  it('fails in one sentence with its name, and leaves nothing behind', async () => {
    mkdirSync(join(folder, 'web.config'))
    await expect(writeIfChanged(join(folder, 'web.config'), 'text')).rejects.toThrowError(
      expect.objectContaining({ code: 'FILE', message: expect.stringContaining('cannot write') }),
    )
    expect(readdirSync(folder)).toEqual(['web.config'])
  })
})
