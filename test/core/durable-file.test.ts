import * as fs from 'node:fs'
import type * as promises from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  addFile,
  appendLine,
  createFile,
  makeFolderDurably,
  removeFile,
  replaceFile,
} from '../../src/core/durable-file.js'
import { fsFailure } from '../../src/core/file-failure.js'
import { temporaryFolder } from '../state/temporary-store.js'

/** Simulated disk faults and recorded calls; everything else is the real node:fs. */
const disk = vi.hoisted(() => ({
  calls: [] as string[],
  faults: {} as { write?: (data: string) => string; link?: string; sync?: string; syncFolder?: string },
}))

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof promises>()
  const fail = (code: string) => {
    throw Object.assign(new Error(code), { code })
  }
  const name = (path: unknown) =>
    String(path)
      .replace(/[0-9a-f]{12}\.tmp$/, 'DRAFT')
      .replace(/.*\//, '')
  return {
    ...real,
    open: async (path: string, flags: string, mode?: number) => {
      const handle = await real.open(path, flags, mode)
      const { writeFile, sync } = handle
      return Object.assign(handle, {
        writeFile: (data: string) => writeFile.call(handle, disk.faults.write?.(data) ?? data),
        sync: async () => {
          if (disk.faults.sync !== undefined) fail(disk.faults.sync)
          if (disk.faults.syncFolder !== undefined && (await handle.stat()).isDirectory())
            fail(disk.faults.syncFolder)
          disk.calls.push((await handle.stat()).isDirectory() ? 'sync folder' : `sync ${name(path)}`)
          await sync.call(handle)
        },
      })
    },
    rename: async (from: string, to: string) => {
      await real.rename(from, to)
      disk.calls.push(`name ${name(to)}`)
    },
    rm: async (path: string, options: object) => {
      await real.rm(path, options)
      disk.calls.push(`remove ${name(path)}`)
    },
    link: async (from: string, to: string) => {
      if (disk.faults.link !== undefined) fail(disk.faults.link)
      await real.link(from, to)
    },
  }
})

afterEach(() => {
  disk.faults = {}
})

async function fileWith(text: string) {
  const folder = temporaryFolder()
  const file = join(folder, 'web.json')
  const backup = `${file}.bak`
  await addFile(file, text, backup)
  disk.calls.length = 0
  return { folder, file, backup }
}

describe('an added file', () => {
  it('is its own backup, for its owner alone', async () => {
    const { folder, file, backup } = await fileWith('one')
    for (const each of [file, backup]) {
      expect(fs.readFileSync(each, 'utf8')).toBe('one')
      expect(fs.statSync(each).mode & 0o777).toBe(0o600)
    }
    expect(fs.readdirSync(folder).sort()).toEqual(['web.json', 'web.json.bak'])
  })

  it('does not exist when its backup cannot be made', async () => {
    const file = join(temporaryFolder(), 'web.json')
    disk.faults.link = 'ENOSPC'
    await expect(addFile(file, 'one', `${file}.bak`)).rejects.toMatchObject({ code: 'DISK_FULL' })
    expect(fs.existsSync(file)).toBe(false)
  })
})

describe('a replaced file', () => {
  it('is on the disk before it has its name, and the name is on the disk when the promise is fulfilled', async () => {
    const { file, backup } = await fileWith('one')
    await replaceFile(file, 'two', { backup })
    const steps = disk.calls.filter((call) => !call.startsWith('remove'))
    expect(steps).toEqual(['sync web.json.DRAFT', 'name web.json.bak', 'name web.json', 'sync folder'])
  })

  it('leaves the new content, mode 0600, and nothing else where no backup is wanted', async () => {
    const folder = temporaryFolder()
    const file = join(folder, 'hash.key')
    await replaceFile(file, 'one')
    await replaceFile(file, Buffer.from([0xff, 0, 0xfe]))
    expect([...fs.readFileSync(file)]).toEqual([0xff, 0, 0xfe])
    expect(fs.statSync(file).mode & 0o777).toBe(0o600)
    expect(fs.readdirSync(folder)).toEqual(['hash.key'])
  })

  it('has the mode that was asked for', async () => {
    const file = join(temporaryFolder(), 'id_ed25519.pub')
    await replaceFile(file, 'one', { mode: 0o644 })
    expect(fs.statSync(file).mode & 0o777).toBe(0o644)
  })

  it('has the old text as its backup, and leaves nothing else', async () => {
    const { folder, file, backup } = await fileWith('one')
    await replaceFile(file, 'two', { backup })
    await replaceFile(file, 'three', { backup })
    expect(fs.readFileSync(file, 'utf8')).toBe('three')
    expect(fs.readFileSync(backup, 'utf8')).toBe('two')
    for (const each of [file, backup]) expect(fs.statSync(each).mode & 0o777).toBe(0o600)
    expect(fs.readdirSync(folder).sort()).toEqual(['web.json', 'web.json.bak'])
  })

  it('has a backup on a file system without hard links', async () => {
    const { folder, file, backup } = await fileWith('one')
    await replaceFile(file, 'two', { backup })
    disk.faults.link = 'EPERM'
    await replaceFile(file, 'three', { backup })
    expect(fs.readFileSync(backup, 'utf8')).toBe('two')
    expect(fs.readdirSync(folder).sort()).toEqual(['web.json', 'web.json.bak'])
  })

  it('is not trusted when a successful write was cut short', async () => {
    const { folder, file, backup } = await fileWith('one')
    disk.faults.write = (data) => data.slice(0, 2)
    await expect(replaceFile(file, 'two', { backup })).rejects.toMatchObject({
      code: 'DISK_FULL',
      exitCode: 1,
      message: expect.stringContaining('the disk holds fewer bytes'),
    })
    expect(fs.readFileSync(file, 'utf8')).toBe('one')
    expect(fs.readdirSync(folder).sort()).toEqual(['web.json', 'web.json.bak'])
  })

  it.each([
    ['ENOSPC', 'DISK_FULL', 'no space left on the disk'],
    ['EDQUOT', 'DISK_FULL', 'the disk quota is used up'],
    ['EIO', 'FILE', 'the disk reports an input/output error'],
  ])('stays unchanged when the disk answers %s, and one sentence says so', async (errno, code, why) => {
    const { folder, file, backup } = await fileWith('one')
    disk.faults.sync = errno
    await expect(replaceFile(file, 'two', { backup })).rejects.toMatchObject({
      code,
      message: `cannot write ${file}: ${why}; the previous content is intact`,
    })
    expect(fs.readFileSync(file, 'utf8')).toBe('one')
    expect(fs.readdirSync(folder).sort()).toEqual(['web.json', 'web.json.bak'])
  })

  it.each(['EINVAL', 'ENOTSUP', 'EOPNOTSUPP'])('is accepted when a folder answers %s', async (errno) => {
    const { file, backup } = await fileWith('one')
    disk.faults.syncFolder = errno
    await replaceFile(file, 'two', { backup })
    expect(fs.readFileSync(file, 'utf8')).toBe('two')
  })

  it('is an error when the file itself cannot be flushed to the disk', async () => {
    const { file, backup } = await fileWith('one')
    disk.faults.sync = 'EINVAL'
    await expect(replaceFile(file, 'two', { backup })).rejects.toMatchObject({ code: 'FILE' })
  })

  it('is an error when its folder cannot be flushed to the disk', async () => {
    const { file, backup } = await fileWith('one')
    disk.faults.syncFolder = 'EIO'
    await expect(replaceFile(file, 'two', { backup })).rejects.toMatchObject({ code: 'FILE' })
  })
})

describe('a removed file', () => {
  it('loses its backup first, and each removal is on the disk before the next step', async () => {
    const { folder, file, backup } = await fileWith('one')
    await removeFile(file, backup, () => disk.calls.push('told'))
    const steps = ['remove web.json.bak', 'sync folder', 'told', 'remove web.json', 'sync folder', 'told']
    expect(disk.calls).toEqual(steps)
    expect(fs.readdirSync(folder)).toEqual([])
  })
})

describe('an appended line', () => {
  it('is undone when it could not be flushed to the disk', async () => {
    const { file } = await fileWith('one\n')
    disk.faults.sync = 'ENOSPC'
    await expect(appendLine(file, 'two')).rejects.toMatchObject({ code: 'DISK_FULL' })
    expect(fs.readFileSync(file, 'utf8')).toBe('one\n')
  })
})

describe('the creation of a file', () => {
  it.each(['with', 'without'])('leaves nothing of the file on a full disk %s hard links', async (links) => {
    const folder = temporaryFolder()
    const file = join(folder, 'new')
    if (links === 'without') disk.faults.link = 'EPERM'
    // The draft is complete; the disk is full when the file itself is written.
    let writes = links === 'without' ? 0 : 1
    disk.faults.write = (data) => {
      writes += 1
      return writes === 1 ? data : data.slice(0, 2)
    }
    await expect(createFile(file, 'content')).rejects.toMatchObject({
      code: 'DISK_FULL',
      message: expect.not.stringContaining('intact'),
    })
    expect(fs.readdirSync(folder)).toEqual([])
    delete disk.faults.write
    await createFile(file, 'content')
    expect(fs.readFileSync(file, 'utf8')).toBe('content')
  })

  it.each(['EPERM', undefined])(
    'leaves an existing file of that name, when links end in %s',
    async (link) => {
      const { folder, file, backup } = await fileWith('one')
      if (link !== undefined) disk.faults.link = link
      await expect(createFile(file, 'two')).rejects.toMatchObject({ code: 'EEXIST' })
      expect(fs.readFileSync(file, 'utf8')).toBe('one')
      expect(
        fs
          .readdirSync(folder)
          .map((name) => join(folder, name))
          .sort(),
      ).toEqual([file, backup])
    },
  )

  it.each(['EINVAL', 'ENOTSUP', 'EOPNOTSUPP'])('is accepted when a folder answers %s', async (errno) => {
    disk.faults.syncFolder = errno
    const file = join(temporaryFolder(), 'new')
    await createFile(file, 'three')
    expect(fs.readFileSync(file, 'utf8')).toBe('three')
  })
})

describe('the creation of a folder', () => {
  it('brings each folder that it makes to the disk, for the owner alone', async () => {
    const folder = temporaryFolder()
    disk.calls.length = 0
    await makeFolderDurably(join(folder, 'a', 'b'))
    expect(disk.calls).toEqual(['sync folder', 'sync folder'])
    expect(fs.statSync(join(folder, 'a', 'b')).mode & 0o777).toBe(0o700)
    await makeFolderDurably(join(folder, 'a', 'b'))
    expect(disk.calls).toHaveLength(2)
  })

  it('fails in one sentence with the name of the folder', async () => {
    const { file } = await fileWith('one')
    const folder = join(file, 'keys')
    await expect(makeFolderDurably(folder)).rejects.toMatchObject({
      code: 'FILE',
      message: `cannot make the folder ${folder}: a part of the path is not a folder`,
    })
  })

  it('is an error when the name of the folder cannot be flushed to the disk', async () => {
    const { folder } = await fileWith('one')
    disk.faults.syncFolder = 'ENOSPC'
    await expect(makeFolderDurably(join(folder, 'keys'))).rejects.toMatchObject({ code: 'DISK_FULL' })
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
