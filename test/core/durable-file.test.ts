import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createDurably, makeFolderDurably, replaceDurably } from '../../src/core/durable-file.js'
import { fsFailure } from '../../src/core/file-failure.js'
import { temporaryFolder } from '../state/temporary-store.js'

/** Faults that no healthy disk shows when asked to; everything else is the real node:fs. */
const faults = vi.hoisted(
  (): {
    write?: (data: string) => string
    link?: string
    sync?: string
    syncFolder?: string
  } => ({}),
)

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
    fsyncSync: (fd: number) => {
      if (faults.sync !== undefined) fail(faults.sync)
      if (faults.syncFolder !== undefined && real.fstatSync(fd).isDirectory()) fail(faults.syncFolder)
      real.fsyncSync(fd)
    },
  }
})

afterEach(() => {
  for (const name of ['write', 'link', 'sync', 'syncFolder'] as const) delete faults[name]
})

function fileWith(text: string): { folder: string; file: string } {
  const folder = temporaryFolder()
  const file = join(folder, 'state.json')
  replaceDurably(file, text)
  return { folder, file }
}

describe('the replacement of a file', () => {
  it('leaves the new text, mode 0600, and nothing else', () => {
    const { folder, file } = fileWith('one')
    replaceDurably(file, 'two')
    expect(fs.readFileSync(file, 'utf8')).toBe('two')
    expect(fs.statSync(file).mode & 0o777).toBe(0o600)
    expect(fs.readdirSync(folder)).toEqual(['state.json'])
  })

  it('does not trust a successful write that was cut short', () => {
    const { folder, file } = fileWith('one')
    faults.write = (data) => data.slice(0, 2)
    expect(() => replaceDurably(file, 'two')).toThrow(
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
  ])(
    'reports in one sentence that the disk answers %s, and leaves everything unchanged',
    (errno, code, why) => {
      const { folder, file } = fileWith('one')
      faults.sync = errno
      expect(() => replaceDurably(file, 'two')).toThrow(
        expect.objectContaining({
          code,
          message: `cannot write ${file}: ${why}; what was there before is intact`,
        }),
      )
      expect(fs.readFileSync(file, 'utf8')).toBe('one')
      expect(fs.readdirSync(folder)).toEqual(['state.json'])
    },
  )
})

describe('the creation of a file', () => {
  it.each(['with', 'without'])('leaves nothing of the file on a full disk %s hard links', (links) => {
    const folder = temporaryFolder()
    const file = join(folder, 'new')
    if (links === 'without') faults.link = 'EPERM'
    // The draft is whole; the disk is full when the file itself is written.
    let writes = links === 'without' ? 0 : 1
    faults.write = (data) => {
      writes += 1
      return writes === 1 ? data : data.slice(0, 2)
    }
    expect(() => createDurably(file, 'content')).toThrow(
      expect.objectContaining({ code: 'DISK_FULL', message: expect.not.stringContaining('intact') }),
    )
    expect(fs.readdirSync(folder)).toEqual([])
    delete faults.write
    createDurably(file, 'content')
    expect(fs.readFileSync(file, 'utf8')).toBe('content')
  })

  it.each(['EPERM', undefined])('leaves an existing file of that name, when links end in %s', (link) => {
    const { folder, file } = fileWith('one')
    if (link !== undefined) faults.link = link
    expect(() => createDurably(file, 'two')).toThrow(expect.objectContaining({ code: 'EEXIST' }))
    expect(fs.readFileSync(file, 'utf8')).toBe('one')
    expect(fs.readdirSync(folder)).toEqual(['state.json'])
  })
})

describe('a file system that cannot flush a folder to the disk', () => {
  it.each(['EINVAL', 'ENOTSUP', 'EOPNOTSUPP'])('still accepts files, when it answers %s', (errno) => {
    faults.syncFolder = errno
    const { folder, file } = fileWith('one')
    replaceDurably(file, 'two')
    createDurably(join(folder, 'new'), 'three')
    expect(fs.readFileSync(file, 'utf8')).toBe('two')
    expect(fs.readFileSync(join(folder, 'new'), 'utf8')).toBe('three')
  })

  it('is an error when the disk fails, and when a file itself cannot be flushed', () => {
    const { file } = fileWith('one')
    faults.syncFolder = 'EIO'
    expect(() => replaceDurably(file, 'two')).toThrow(expect.objectContaining({ code: 'FILE' }))
    delete faults.syncFolder
    faults.sync = 'EINVAL'
    expect(() => replaceDurably(file, 'two')).toThrow(expect.objectContaining({ code: 'FILE' }))
  })
})

describe('the creation of a folder', () => {
  it('fails in one sentence with the name of the folder', () => {
    const { file } = fileWith('one')
    const folder = join(file, 'keys')
    expect(() => makeFolderDurably(folder)).toThrow(
      expect.objectContaining({
        code: 'FILE',
        message: `cannot make the folder ${folder}: a part of its path is not a folder`,
      }),
    )
  })

  it('is an error when the name of the folder cannot be flushed to the disk', () => {
    const { folder } = fileWith('one')
    faults.syncFolder = 'ENOSPC'
    expect(() => makeFolderDurably(join(folder, 'keys'))).toThrow(
      expect.objectContaining({ code: 'DISK_FULL' }),
    )
  })
})

describe('a failed file operation', () => {
  it('is one sentence with a remedy', () => {
    const refused = fsFailure(Object.assign(new Error('x'), { code: 'EACCES' }), 'read', '/srv/state.json')
    expect(refused.message).toBe('cannot read /srv/state.json: permission denied')
    expect(refused.hint).toContain('ls -ld /srv/state.json')
    const full = fsFailure(Object.assign(new Error('x'), { code: 'ENOSPC' }), 'write', '/srv/state.json')
    expect(full.hint).toContain('make room')
  })

  it('shows an error number that it has no words for', () => {
    expect(fsFailure(Object.assign(new Error('x'), { code: 'EXDEV' }), 'move', '/a').message).toBe(
      'cannot move /a: EXDEV',
    )
  })
})
