import * as fs from 'node:fs'
import type * as promises from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { PassThrough } from 'node:stream'
import ssh2 from 'ssh2'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { publishImage } from '../../providers/libvirt/wanted.js'
import type { LocalCommands } from '../../src/core/context.js'
import type { BaseImage } from '../../src/core/image.js'
import { DeploymentUuid, MachineName } from '../../src/core/names.js'
import { writeIfChanged } from '../../src/core/write-if-changed.js'
import { createImageStore } from '../../src/images/store.js'
import { dryRunSession } from '../../src/machine/session.js'
import { writeNewFile } from '../../src/operations/init/new-file.js'
import { ensureKeyPair } from '../../src/ssh/keys.js'
import { keyedHash } from '../../src/tasks/keyed-hash.js'
import { createStateFolder, deploymentPaths } from '../../state/paths.js'
import { createSecretFiles } from '../../state/secrets.js'
import { errorOf, temporaryFolder } from '../state/temporary-store.js'

/** Recorded calls that name files or sync data, because only synced effects survive a power cut. */
const disk = vi.hoisted(() => ({ calls: [] as string[], noLinks: false, faster: () => {} }))

vi.mock('node:fs', async (original) => {
  const real = await original<typeof fs>()
  const name = (path: unknown) => String(path).replace(/[0-9a-f]{12}\.tmp$/, 'DRAFT')
  return {
    ...real,
    fsyncSync: (fd: number) => {
      disk.calls.push(`sync ${name(real.readlinkSync(`/proc/self/fd/${fd}`))}`)
      real.fsyncSync(fd)
    },
    renameSync: (from: string, to: string) => {
      real.renameSync(from, to)
      disk.calls.push(`name ${to}`)
    },
    linkSync: (from: string, to: string) => {
      disk.faster()
      if (disk.noLinks) throw Object.assign(new Error('EXDEV'), { code: 'EXDEV' })
      real.linkSync(from, to)
      disk.calls.push(`name ${to}`)
    },
  }
})

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof promises>()
  const name = (path: string) => path.replace(/[0-9a-f]{12}\.tmp$/, 'DRAFT')
  return {
    ...real,
    open: async (path: string, flags: string, mode?: number) => {
      const handle = await real.open(path, flags, mode)
      const { sync } = handle
      return Object.assign(handle, {
        sync: async () => {
          disk.calls.push(`sync ${name(path)}`)
          await sync.call(handle)
        },
      })
    },
    rename: async (from: string, to: string) => {
      await real.rename(from, to)
      disk.calls.push(`name ${to}`)
    },
    link: async (from: string, to: string) => {
      await real.link(from, to)
      disk.calls.push(`name ${to}`)
    },
  }
})

let folder: string
beforeEach(() => {
  folder = fs.realpathSync(temporaryFolder())
  disk.calls.length = 0
})
afterEach(() => {
  disk.noLinks = false
  disk.faster = () => {}
})

const web = MachineName.parse('web')
const uuid = DeploymentUuid.parse('0b7c3d1e-1111-4a2b-9c3d-000000000001')

/**
 * Expects that the content was synced before the file got its name, and that the folder was synced
 * afterwards.
 */
function expectDurable(file: string, draft = `${file}.DRAFT`): void {
  const named = disk.calls.indexOf(`name ${file}`)
  expect(named, `${basename(file)} gets its name once it is whole`).toBeGreaterThan(-1)
  expect(disk.calls.slice(0, named)).toContain(`sync ${draft}`)
  expect(disk.calls.slice(named)).toContain(`sync ${dirname(file)}`)
}

function session() {
  const record = {
    uuid,
    expressions: [],
    searchPath: [],
    args: {},
    createdAt: '2026-11-21T10:15:00.000Z',
    machines: {},
  }
  return {
    ...dryRunSession(createStateFolder(folder, {}), record),
    whenWriting: (action: () => Promise<void>) => action(),
  }
}

const secrets = () => createSecretFiles(createStateFolder(folder, {})).of(uuid)

describe('the key under which secrets are hashed', () => {
  const file = () => join(deploymentPaths(folder, uuid).root, 'keys', 'hash.key')

  it('is on the disk before it is used, for its owner alone', async () => {
    const hash = (await keyedHash(session(), secrets()))('secret')
    expectDurable(file())
    expect(fs.statSync(file()).mode & 0o777).toBe(0o600)
    expect(fs.readFileSync(file())).toHaveLength(32)
    expect((await keyedHash(session(), secrets()))('secret')).toBe(hash)
  })

  it.each([
    ['empty', 0],
    ['cut short', 31],
    ['too long', 33],
  ])('is refused when it is %s, with the file and the way out', async (_what, bytes) => {
    fs.mkdirSync(dirname(file()), { recursive: true })
    fs.writeFileSync(file(), Buffer.alloc(bytes, 7))
    expect(await errorOf(() => keyedHash(session(), secrets()))).toMatchObject({
      code: 'HASH_KEY',
      message: expect.stringContaining(`${file()} has ${bytes} bytes`),
      hint: expect.stringContaining(`rm ${file()}`),
    })
    expect(fs.readFileSync(file())).toHaveLength(bytes)
  })
})

describe('a generated secret', () => {
  const file = () => join(deploymentPaths(folder, uuid).root, 'keys', 'web.admin.generated')

  it('is on the disk, with its folder, before it is returned', async () => {
    await secrets().keepGenerated(web, 'admin', 'geheim')
    expectDurable(file())
    expect(disk.calls).toContain(`sync ${dirname(dirname(file()))}`)
    expect(await secrets().readGenerated(web, 'admin', 'password')).toBe('geheim\n')
  })

  it('is refused when a power cut of an older program left it empty', async () => {
    fs.mkdirSync(dirname(file()), { recursive: true })
    fs.writeFileSync(file(), '\n')
    expect(await errorOf(() => secrets().readGenerated(web, 'admin', 'password of admin'))).toMatchObject({
      code: 'SECRET',
      message: `the password of admin is lost, because its file ${file()} is empty`,
      hint: expect.stringContaining(`rm ${file()}`),
    })
  })
})

it('a configuration for ssh is on the disk before it has its name', async () => {
  const file = join(folder, 'ssh', 'web.config')
  await writeIfChanged(file, 'Host web\n')
  expectDurable(file)
})

it('a new network expression is on the disk before it has its name', async () => {
  const file = join(folder, 'hydra.nix')
  await writeNewFile(file, 'hydra.nix', '{}\n')
  expectDurable(file)
})

/** Generates a private key that ssh2 can read. ssh2 cannot read about one in 400 of its own keys. */
function readableKey(): string {
  const { private: key } = ssh2.utils.generateKeyPairSync('ed25519')
  return ssh2.utils.parseKey(key) instanceof Error ? readableKey() : key
}

it('a key pair is on the disk before it has its name', async () => {
  const file = join(folder, 'keys', 'id_ed25519')
  const local: Pick<LocalCommands, 'run'> = {
    run: async (argv) => {
      fs.writeFileSync(argv.at(-1) ?? '', readableKey(), { mode: 0o600 })
      return { kind: 'exited', code: 0, stdout: '', stderr: '' }
    },
  }
  const run = { signal: new AbortController().signal, log: () => {} }
  expect(await ensureKeyPair(file, run, local)).toMatch(/^ssh-ed25519 /)
  expectDurable(file, `${file}.new`)
  expectDurable(`${file}.pub`)
})

describe('an image', () => {
  it('is on the disk with each of its files before it counts as an image', async () => {
    const source = join(folder, 'vendor.qcow2')
    fs.writeFileSync(source, 'a disk')
    const root = join(folder, 'images')
    const local: Pick<LocalCommands, 'run' | 'spawnDuplex'> = {
      run: async () => ({
        kind: 'exited',
        code: 0,
        stdout: JSON.stringify({ format: 'qcow2', 'virtual-size': 1024 }),
        stderr: '',
      }),
      spawnDuplex: () => {
        const holder = new PassThrough()
        holder.write('locked')
        return holder
      },
    }
    const run = { signal: new AbortController().signal, log: () => {} }
    const image = await createImageStore({ root, local, env: {} }).ensure(source, run)
    const named = disk.calls.indexOf(`name ${dirname(image.disk)}`)
    expect(named).toBeGreaterThan(-1)
    const before = disk.calls.slice(0, named).join('\n')
    expect(before).toMatch(/^sync .*\/disk$/m)
    expect(before).toMatch(/^sync .*\/image\.json\.DRAFT$/m)
    expect(disk.calls.slice(named)).toContain(`sync ${root}`)
  })

  it('is copied for QEMU whole or not at all when it cannot be linked', async () => {
    const from = imageIn(join(folder, 'images'))
    const to = imageIn(join(folder, 'system'), false)
    disk.noLinks = true
    await publishImage(from, to)
    expect(fs.readFileSync(to.disk, 'utf8')).toBe('a disk')
    expectDurable(to.disk, `${to.disk}.DRAFT`)
    expect(fs.readdirSync(dirname(to.disk))).toEqual(['disk.qcow2'])
  })

  it('is copied beside the copy of another process, which stays', async () => {
    const from = imageIn(join(folder, 'images'))
    const to = imageIn(join(folder, 'system'), false)
    const theirs = [`${to.disk}.new`, `${to.disk}.0123456789ab.tmp`]
    for (const file of theirs) fs.writeFileSync(file, 'half')
    disk.noLinks = true
    await publishImage(from, to)
    expect(fs.readFileSync(to.disk, 'utf8')).toBe('a disk')
    expect(theirs.map((file) => fs.readFileSync(file, 'utf8'))).toEqual(['half', 'half'])
  })

  it('is copied without the half copies that a crash left', async () => {
    const from = imageIn(join(folder, 'images'))
    const to = imageIn(join(folder, 'system'), false)
    const left = `${to.disk}.0123456789ab.tmp`
    fs.writeFileSync(left, 'half')
    const yesterday = new Date(Date.now() - 24 * 3_600_000)
    fs.utimesSync(left, yesterday, yesterday)
    disk.noLinks = true
    await publishImage(from, to)
    expect(fs.readdirSync(dirname(to.disk))).toEqual(['disk.qcow2'])
  })

  it('is copied once for machines that are made from it at the same time', async () => {
    const from = imageIn(join(folder, 'images'))
    const to = imageIn(join(folder, 'system'), false)
    disk.noLinks = true
    await Promise.all([publishImage(from, to), publishImage(from, to), publishImage(from, to)])
    expect(disk.calls.filter((call) => call === `name ${to.disk}`)).toHaveLength(1)
    expect(fs.readFileSync(to.disk, 'utf8')).toBe('a disk')
    expect(fs.readdirSync(dirname(to.disk))).toEqual(['disk.qcow2'])
  })

  it('leaves nothing of a copy that does not fit', async () => {
    const from = imageIn(join(folder, 'images'))
    const to = imageIn(join(folder, 'system'), false)
    fs.rmSync(from.disk)
    fs.mkdirSync(from.disk)
    disk.noLinks = true
    await expect(publishImage(from, to)).rejects.toThrow()
    expect(fs.readdirSync(dirname(to.disk))).toEqual([])
  })

  it('does not overwrite the copy that another process published meanwhile', async () => {
    const from = imageIn(join(folder, 'images'))
    const to = imageIn(join(folder, 'system'), false)
    disk.faster = () => fs.writeFileSync(to.disk, 'a disk')
    await publishImage(from, to)
    expect(disk.calls.filter((call) => call === `name ${to.disk}`)).toEqual([])
    expect(fs.readdirSync(dirname(to.disk))).toEqual(['disk.qcow2'])
  })
})

function imageIn(root: string, there = true): BaseImage {
  const disk = join(root, 'disk.qcow2')
  fs.mkdirSync(root, { recursive: true })
  if (there) fs.writeFileSync(disk, 'a disk')
  return { id: 'a', reference: 'a', disk, format: 'qcow2', virtualBytes: 1024, identity: 'none' }
}
