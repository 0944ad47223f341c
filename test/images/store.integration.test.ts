import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ImageStore } from '../../src/core/image.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { createImageStore } from '../../src/images/store.js'

let folder: string
let root: string
let store: ImageStore
const logged: string[] = []
const run = { signal: new AbortController().signal, log: (line: string) => logged.push(line) }

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-images-'))
  root = join(folder, 'images')
  store = createImageStore({ root, local: localCommands })
  logged.length = 0
})
afterEach(() => rmSync(folder, { recursive: true }))

async function qemuImg(...args: string[]): Promise<void> {
  const result = await localCommands.run(['qemu-img', ...args], {
    ...run,
    timeoutMs: 30_000,
    what: 'qemu-img',
  })
  if (result.kind !== 'exited' || result.code !== 0) throw new Error(result.stderr)
}

async function diskFile(name: string, format = 'qcow2'): Promise<string> {
  const path = join(folder, name)
  await qemuImg('create', '-q', '-f', format, path, '8M')
  return path
}

/** Lists the files in the store except its lock. */
function stored(): string[] {
  return existsSync(root) ? readdirSync(root).filter((name) => name !== '.lock') : []
}

describe('an image with a path', () => {
  it('is taken into the store, found again without another copy, and takes its identity from a seed', async () => {
    const path = await diskFile('cloud.qcow2')
    expect(await store.find(path)).toBeUndefined()
    const image = await store.ensure(path, run)
    expect(image).toMatchObject({
      reference: path,
      format: 'qcow2',
      virtualBytes: 8 * 1024 ** 2,
      identity: 'nocloud',
    })
    expect(statSync(image.disk).mode & 0o777).toBe(0o444)
    logged.length = 0
    expect((await store.ensure(path, run)).id).toBe(image.id)
    expect(logged).toEqual([])
    expect((await store.find('whatever', image.id))?.disk).toBe(image.disk)
  })

  it('counts as another image when the file changed; the first image stays as it is', async () => {
    const path = await diskFile('cloud.qcow2')
    const first = await store.ensure(path, run)
    await qemuImg('resize', '-q', path, '16M')
    utimesSync(path, 1, 1)
    const second = await store.ensure(path, run)
    expect(second.id).not.toBe(first.id)
    expect(second.virtualBytes).toBe(16 * 1024 ** 2)
    expect((await store.find(path, first.id))?.virtualBytes).toBe(8 * 1024 ** 2)
  })

  it('is the same image under another path with the same bytes', async () => {
    const path = await diskFile('a.raw', 'raw')
    const copy = join(folder, 'b.raw')
    writeFileSync(copy, readFileSync(path))
    const first = await store.ensure(path, run)
    expect((await store.ensure(copy, run)).id).toBe(first.id)
    expect((await store.find(path))?.id).toBe(first.id)
    expect((await store.find(copy))?.id).toBe(first.id)
    expect(stored()).toEqual([first.id])
  })

  it('is refused when it does not exist, is packed, is of another format or needs another file', async () => {
    const refusal = (path: string, why: RegExp) =>
      expect(store.ensure(path, run)).rejects.toMatchObject({
        exitCode: 2,
        message: expect.stringMatching(why),
      })
    await refusal('/nonexistent.qcow2', /no such file/)
    const gz = join(folder, 'x.gz')
    writeFileSync(gz, Buffer.from('1f8b080000000000', 'hex'))
    await refusal(gz, /compressed with gzip/)
    const base = await diskFile('base.qcow2')
    const overlay = join(folder, 'overlay.qcow2')
    await qemuImg('create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base, overlay)
    await refusal(overlay, /not complete, because the image needs .*base\.qcow2/)
    await refusal(await diskFile('x.vdi', 'vdi'), /has the format vdi/)
    expect(stored()).toEqual([])
  })
})

describe('an image with a URL', () => {
  let server: Server
  let url: string
  let content: Buffer
  let sha256: string

  beforeEach(async () => {
    content = readFileSync(await diskFile('served.qcow2'))
    sha256 = createHash('sha256').update(content).digest('hex')
    server = createServer((request, response) => {
      if (request.url !== '/image.qcow2') response.writeHead(404).end()
      else response.end(content)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/image.qcow2`
  })
  afterEach(() => server.close())

  it('is fetched once and kept', async () => {
    const reference = `${url}#sha256=${sha256}`
    const image = await store.ensure(reference, run)
    expect(readFileSync(image.disk).equals(content)).toBe(true)
    server.close()
    expect((await store.ensure(reference, run)).id).toBe(image.id)
  })

  it('is refused without a SHA-256, and with a wrong one; nothing of it stays', async () => {
    await expect(store.ensure(url, run)).rejects.toMatchObject({ exitCode: 2 })
    const wrong = 'ab'.repeat(32)
    await expect(store.ensure(`${url}#sha256=${wrong}`, run)).rejects.toMatchObject({
      code: 'DOWNLOAD',
      message: expect.stringContaining(sha256),
    })
    expect(stored()).toEqual([])
  })

  it('reports the answer of the server, or its silence', async () => {
    const missing = `${url}x#sha256=${sha256}`
    await expect(store.ensure(missing, run)).rejects.toMatchObject({
      message: expect.stringContaining('404'),
    })
    await new Promise((resolve) => server.close(resolve))
    await expect(store.ensure(`${url}#sha256=${sha256}`, run)).rejects.toMatchObject({
      code: 'DOWNLOAD',
      message: expect.stringContaining('ECONNREFUSED'),
    })
  })
})

describe('the store of images', () => {
  it('lists its images, and removes those that no machine uses', async () => {
    const path = await diskFile('cloud.qcow2')
    const { id } = await store.ensure(path, run)
    expect(await store.list()).toMatchObject([{ id, reference: path }])
    await expect(store.remove(path, new Set([id]))).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('in use'),
    })
    expect(await store.remove(id, new Set())).toMatchObject([{ id }])
    expect(stored()).toEqual([])
    await expect(store.remove(id, new Set())).rejects.toMatchObject({ exitCode: 2 })
  })

  it('knows the existing names', async () => {
    await expect(store.ensure('debian-21', run)).rejects.toMatchObject({
      exitCode: 2,
      hint: "did you mean 'debian-12'?",
    })
    expect(await store.find('nixos')).toBeUndefined()
  })

  it('removes the leftovers of a killed build before it makes another image', async () => {
    mkdirSync(join(root, '.building-999', 'work'), { recursive: true })
    writeFileSync(join(root, '.building-999', 'work', 'disk.raw'), 'half')
    expect(await store.list()).toEqual([])
    const { id } = await store.ensure(await diskFile('cloud.qcow2'), run)
    expect(stored()).toEqual([id])
  })

  it('does not count a folder without a good record as an image, and lists the missing record', async () => {
    const reference = await diskFile('cloud.qcow2')
    const { id } = await store.ensure(reference, run)
    writeFileSync(join(root, id, 'image.json'), '{"schemaVersion":')
    expect(await store.find(reference)).toBeUndefined()
    expect(await store.list()).toEqual([{ id, bytes: expect.any(Number), missing: ['image.json'] }])
  })

  it('lets one process make images at a time; the others find the result', async () => {
    const path = await diskFile('cloud.qcow2')
    const others = [1, 2, 3].map(() => createImageStore({ root, local: localCommands }))
    const images = await Promise.all(others.map((other) => other.ensure(path, run)))
    expect(new Set(images.map(({ id }) => id)).size).toBe(1)
    expect(logged.filter((line) => line.startsWith('copying'))).toHaveLength(1)
  })

  it('ends at once, and leaves nothing, when it is cancelled while it waits', async () => {
    mkdirSync(root, { recursive: true })
    const held = localCommands.spawnDuplex(
      ['flock', join(root, '.lock'), 'sh', '-c', 'echo locked; exec cat'],
      {
        signal: run.signal,
        what: 'hold the lock',
      },
    )
    await new Promise((resolve) => held.once('data', resolve))
    const controller = new AbortController()
    const waiting = store.ensure(await diskFile('cloud.qcow2'), { ...run, signal: controller.signal })
    controller.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'INTERRUPTED' })
    held.destroy()
    expect(stored()).toEqual([])
  })
})
