import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createNixCommand } from '../../nix/nix-command.js'
import { createSubstituter } from '../../nix/substitute.js'
import { StorePath } from '../../src/core/names.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'
import { ScratchNix, shellDerivation } from '../fakes/scratch-nix.js'

const scratch = new ScratchNix()
const cache = join(scratch.folder, 'cache')
const secret = join(scratch.folder, 'secret')
const options = { allowUnsigned: false }
const run = scratch.run

let path: StorePath
let other: StorePath
let publicKey: string
let count = 0

beforeAll(async () => {
  await scratch.nix('nix-store', [
    '--generate-binary-cache-key',
    'cache.example.org-1',
    secret,
    `${secret}.pub`,
  ])
  publicKey = readFileSync(`${secret}.pub`, 'utf8').trim()
  path = await built('wanted')
  other = await built('not-in-the-cache')
  await fill(`file://${cache}?secret-key=${secret}`, path)
})
afterAll(() => scratch.dispose())

async function built(name: string): Promise<StorePath> {
  const drv = await scratch.instantiate(shellDerivation(name, 'echo $name > $out'))
  return StorePath.parse((await scratch.nix('nix-store', ['--realise', drv])).trim())
}

async function fill(url: string, which: StorePath): Promise<void> {
  const flags = ['--extra-experimental-features', 'nix-command']
  await scratch.nix('nix', ['copy', ...flags, '--to', url, which])
}

/** Creates an empty store with these settings, for the operator and as a machine. */
function emptyStore(settings: readonly string[]) {
  count += 1
  const folder = join(scratch.folder, `empty-${count}`)
  mkdirSync(folder)
  const env = { NIX_REMOTE: join(folder, 'store'), NIX_CONFIG: settings.join('\n') }
  const command = createNixCommand({ local: localCommands, stateRoot: folder, env })
  const machine = new LocalShellHost({
    moved: { '/nix/var/nix': join(folder, 'var') },
    prefix: ['env', ...Object.entries(env).map(([name, value]) => `${name}=${value}`)],
  })
  return {
    ...createSubstituter(command),
    machine,
    roots: join(folder, 'var/gcroots/hydra-ops'),
    has: (each: StorePath) => existsSync(join(env.NIX_REMOTE, each)),
  }
}

const trusting = (key = publicKey, at = `file://${cache}`) => [
  `substituters = ${at}`,
  `trusted-public-keys = ${key}`,
]

describe.each([
  ['this host', false],
  ['a machine', true],
])('the Nix of %s', (_, onMachine) => {
  const hostOf = (store: ReturnType<typeof emptyStore>) => (onMachine ? store.machine : undefined)

  it('says what it would fetch, fetches nothing by that, then fetches the signed path', async () => {
    const store = emptyStore(trusting())
    const host = hostOf(store)
    expect(await store.fetchable(host, path, options, run)).toEqual({
      kind: 'fetchable',
      paths: 1,
      bytes: expect.any(Number),
    })
    expect(store.has(path)).toBe(false)
    expect(await store.fetch(host, path, options, run)).toBeUndefined()
    expect(store.has(path)).toBe(true)
    expect(await store.fetchable(host, path, options, run)).toEqual({ kind: 'valid' })
    if (onMachine) expect(readdirSync(store.roots)).toHaveLength(1)
  })

  it('reports that no cache has a path, and builds nothing', async () => {
    const store = emptyStore(trusting())
    expect(await store.fetchable(hostOf(store), other, options, run)).toMatchObject({
      kind: 'absent',
      problem: { kind: 'absent' },
    })
    expect(await store.fetch(hostOf(store), other, options, run)).toMatchObject({ kind: 'absent' })
    expect(store.has(other)).toBe(false)
  })

  it('finds a path that the cache got after a first look', async () => {
    const store = emptyStore(trusting())
    const late = await built(`late-${onMachine}`)
    expect((await store.fetchable(hostOf(store), late, options, run)).kind).toBe('absent')
    await fill(`file://${cache}?secret-key=${secret}`, late)
    expect(await store.fetch(hostOf(store), late, options, run)).toBeUndefined()
  })

  it('fetches a path that the cache has signed with a new key after a first look', async () => {
    const [old, current] = [join(scratch.folder, `old-${count}`), join(scratch.folder, `new-${count}`)]
    for (const key of [old, current])
      await scratch.nix('nix-store', ['--generate-binary-cache-key', 'rotated-1', key, `${key}.pub`])
    const rotated = join(scratch.folder, `rotated-${count}`)
    const server = createServer(({ url = '/' }, response) => {
      const file = join(rotated, url)
      if (existsSync(file)) response.end(readFileSync(file))
      else response.writeHead(404).end()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      await fill(`file://${rotated}?secret-key=${old}`, path)
      const { port } = server.address() as AddressInfo
      const key = readFileSync(`${current}.pub`, 'utf8').trim()
      const store = emptyStore(trusting(key, `http://127.0.0.1:${port}`))
      expect(await store.fetch(hostOf(store), path, options, run)).toMatchObject({ kind: 'unsigned' })
      rmSync(rotated, { recursive: true })
      await fill(`file://${rotated}?secret-key=${current}`, path)
      expect(await store.fetch(hostOf(store), path, options, run)).toBeUndefined()
      expect(store.has(path)).toBe(true)
    } finally {
      server.close()
    }
  })

  it('refuses a path whose key it does not trust, unless that is allowed', async () => {
    const store = emptyStore(trusting('other.example.org-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='))
    expect(await store.fetch(hostOf(store), path, options, run)).toMatchObject({
      kind: 'unsigned',
      detail: expect.stringContaining(path),
    })
    expect(store.has(path)).toBe(false)
    expect(await store.fetch(hostOf(store), path, { allowUnsigned: true }, run)).toBeUndefined()
  })

  it('reports a cache that does not answer', async () => {
    const store = emptyStore(trusting(publicKey, 'http://127.0.0.1:1'))
    expect(await store.fetchable(hostOf(store), path, options, run)).toMatchObject({
      problem: { kind: 'unreachable' },
    })
  })

  it('reports a cache that has lost the contents of a path', async () => {
    const poor = join(scratch.folder, `poor-${onMachine}`)
    await fill(`file://${poor}?secret-key=${secret}`, path)
    rmSync(join(poor, 'nar'), { recursive: true })
    const store = emptyStore(trusting(publicKey, `file://${poor}`))
    expect(await store.fetch(hostOf(store), path, options, run)).toMatchObject({
      kind: 'absent',
      detail: expect.stringContaining('does not exist in binary cache'),
    })
  })
})

it('a machine without Nix is told from one that cannot fetch', async () => {
  const store = emptyStore([])
  const host = new LocalShellHost({ prefix: ['env', 'PATH=/nowhere', '/bin/sh', '-c', 'exit 127'] })
  await expect(store.fetchable(host, path, options, run)).rejects.toMatchObject({ code: 'NO_NIX' })
})

it('a connection that breaks during a fetch is an error about the connection, and not about the caches', async () => {
  const store = emptyStore([])
  const broken = Object.assign(store.machine, { script: async () => ({ kind: 'lost' }) as const })
  await expect(store.fetch(broken, path, options, run)).rejects.toMatchObject({
    code: 'CONNECTION_LOST',
    message:
      "machine 'local': the connection broke while the machine fetched paths: the connection was lost before the command ended",
    hint: 'deploy again; the machine keeps the paths that it has',
  })
})
