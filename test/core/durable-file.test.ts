import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { appendLineDurably, replaceDurably } from '../../src/core/durable-file.js'
import { fsFailure } from '../../src/core/file-failure.js'
import { temporaryFolder } from '../state/temporary-store.js'

/** Faults that no healthy disk shows when asked to; everything else is the real node:fs. */
const faults = vi.hoisted((): { write?: (data: string) => string; link?: string; sync?: string } => ({}))

vi.mock('node:fs', async (original) => {
  const real = await original<typeof fs>()
  const fail = (code: string) => {
    throw Object.assign(new Error(code), { code })
  }
  return {
    ...real,
    writeFileSync: (file: number, data: string) => real.writeFileSync(file, faults.write?.(data) ?? data),
    linkSync: (from: string, to: string) =>
      faults.link === undefined ? real.linkSync(from, to) : fail(faults.link),
    fsyncSync: (fd: number) => (faults.sync === undefined ? real.fsyncSync(fd) : fail(faults.sync)),
  }
})

afterEach(() => {
  for (const name of ['write', 'link', 'sync'] as const) delete faults[name]
})

function fileWith(text: string): { folder: string; file: string; backup: string } {
  const folder = temporaryFolder()
  const file = join(folder, 'state.json')
  replaceDurably(file, text)
  return { folder, file, backup: `${file}.bak` }
}

describe('replacing a file', () => {
  it('leaves the new text, the old one as backup, mode 0600, and nothing else', () => {
    const { folder, file, backup } = fileWith('one')
    replaceDurably(file, 'two', { backup })
    replaceDurably(file, 'three', { backup })
    expect(fs.readFileSync(file, 'utf8')).toBe('three')
    expect(fs.readFileSync(backup, 'utf8')).toBe('two')
    for (const each of [file, backup]) expect(fs.statSync(each).mode & 0o777).toBe(0o600)
    expect(fs.readdirSync(folder).sort()).toEqual(['state.json', 'state.json.bak'])
  })

  it('keeps a backup on a file system without hard links', () => {
    const { folder, file, backup } = fileWith('one')
    faults.link = 'EPERM'
    replaceDurably(file, 'two', { backup })
    expect(fs.readFileSync(backup, 'utf8')).toBe('one')
    expect(fs.readdirSync(folder).sort()).toEqual(['state.json', 'state.json.bak'])
  })

  it('does not believe a write that succeeded and was cut short', () => {
    const { folder, file, backup } = fileWith('one')
    faults.write = (data) => data.slice(0, 2)
    expect(() => replaceDurably(file, 'two', { backup })).toThrow(
      expect.objectContaining({
        code: 'DISK_FULL',
        exitCode: 1,
        message: expect.stringContaining('less arrived'),
      }),
    )
    expect(fs.readFileSync(file, 'utf8')).toBe('one')
    expect(fs.readdirSync(folder)).toEqual(['state.json'])
  })

  it.each([
    ['ENOSPC', 'DISK_FULL', 'no space left on the disk'],
    ['EDQUOT', 'DISK_FULL', 'the disk quota is used up'],
    ['EIO', 'FILE', 'the disk reports an input/output error'],
  ])('says in one sentence that the disk answers %s, and leaves everything as it was', (errno, code, why) => {
    const { folder, file, backup } = fileWith('one')
    faults.sync = errno
    expect(() => replaceDurably(file, 'two', { backup })).toThrow(
      expect.objectContaining({
        code,
        message: `cannot write ${file}: ${why}; what was there before is intact`,
      }),
    )
    expect(fs.readFileSync(file, 'utf8')).toBe('one')
    expect(fs.readdirSync(folder)).toEqual(['state.json'])
  })
})

describe('appending a line', () => {
  it('takes back a line that could not be brought to the disk', () => {
    const { file } = fileWith('one\n')
    faults.sync = 'ENOSPC'
    expect(() => appendLineDurably(file, 'two')).toThrow(expect.objectContaining({ code: 'DISK_FULL' }))
    expect(fs.readFileSync(file, 'utf8')).toBe('one\n')
  })
})

describe('a failed file operation', () => {
  it('is one sentence with what to try', () => {
    const refused = fsFailure(Object.assign(new Error('x'), { code: 'EACCES' }), 'read', '/srv/state.json')
    expect(refused.message).toBe('cannot read /srv/state.json: permission denied')
    expect(refused.hint).toContain('ls -ld /srv/state.json')
    const full = fsFailure(Object.assign(new Error('x'), { code: 'ENOSPC' }), 'write', '/srv/state.json')
    expect(full.hint).toContain('make room')
  })

  it('shows an error number it has no words for', () => {
    expect(fsFailure(Object.assign(new Error('x'), { code: 'EXDEV' }), 'move', '/a').message).toBe(
      'cannot move /a: EXDEV',
    )
  })
})
