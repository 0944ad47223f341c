import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { chooseStore, isUnbornStore, storeEnvironment } from '../../nix/nix-store-choice.js'
import { localCommands } from '../../src/exec/local-commands.js'

let folder: string
let nixRoot: string
let stateRoot: string
let server: Server | undefined
const clients = new Set<Socket>()

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-choice-'))
  nixRoot = join(folder, 'nix')
  stateRoot = join(folder, 'state')
})
afterEach(async () => {
  await new Promise<void>((resolve) => {
    if (server === undefined) resolve()
    else server.close(() => resolve())
    for (const client of clients) client.destroy()
  })
  clients.clear()
  server = undefined
  rmSync(folder, { recursive: true, force: true })
})

/** Starts a stand-in for the daemon's socket; `greet` handles each client. */
async function daemon(greet: (socket: Socket) => void): Promise<void> {
  mkdirSync(join(nixRoot, 'var/nix/daemon-socket'), { recursive: true })
  server = createServer((socket) => {
    socket.on('error', () => {})
    clients.add(socket)
    greet(socket)
  })
  await new Promise<void>((resolve) => {
    server?.listen(join(nixRoot, 'var/nix/daemon-socket/socket'), resolve)
  })
}

const choose = (env: Record<string, string> = {}) => chooseStore({ stateRoot, env, nixRoot })

describe('the chosen store', () => {
  it('is the store in NIX_REMOTE, whatever else there is', async () => {
    await daemon((socket) => socket.end('answer'))
    const store = await choose({ NIX_REMOTE: '/somewhere' })
    expect(store).toMatchObject({ kind: 'given', remote: '/somewhere', realStoreDir: '/somewhere/nix/store' })
  })

  it("is the daemon's, when the daemon answers a greeting", async () => {
    const greetings: string[] = []
    await daemon((socket) => {
      socket.on('data', (bytes) => {
        greetings.push(bytes.toString('hex'))
        socket.write('answer')
      })
    })
    expect(await choose()).toMatchObject({
      kind: 'daemon',
      remote: 'daemon',
      realStoreDir: join(nixRoot, 'store'),
    })
    expect(greetings).toEqual(['6378696e00000000'])
  })

  it('is /nix/store when it can be written and the daemon hangs up', async () => {
    await daemon((socket) => socket.end())
    mkdirSync(join(nixRoot, 'store'))
    const store = await choose()
    expect(store).toMatchObject({ kind: 'host', remote: 'local', realStoreDir: join(nixRoot, 'store') })
    expect(store.why).toContain('closed without an answer')
  })

  it('is /nix/store when the daemon does not answer at all', async () => {
    await daemon(() => {})
    mkdirSync(join(nixRoot, 'store'))
    expect((await choose()).why).toContain('does not answer')
  })

  it('is never that of a daemon with a socket that this user may not reach', async () => {
    await daemon((socket) => socket.write('answer'))
    const sockets = join(nixRoot, 'var/nix/daemon-socket')
    chmodSync(sockets, 0o000)
    const store = await choose()
    chmodSync(sockets, 0o755)
    // Root may enter the socket's folder whatever its mode is.
    if (process.getuid?.() === 0) expect(store.kind).toBe('daemon')
    else expect(store).toMatchObject({ kind: 'own', why: expect.stringContaining("group 'nix-users'") })
  })

  it('is our own in the state folder when there is no other', async () => {
    const store = await choose()
    expect(store).toMatchObject({ kind: 'own', remote: join(stateRoot, 'nix'), chroot: true })
    expect(store.realStoreDir).toBe(join(stateRoot, 'nix/nix/store'))
    expect(store.why).toContain('there is no Nix daemon')
    expect(isUnbornStore(store)).toBe(true)
    mkdirSync(store.realStoreDir, { recursive: true })
    expect(isUnbornStore(store)).toBe(false)
  })
})

it.each(['plain', 'with a space', 'odd ?#&%+ name', 'é日'])(
  'our own store lies at its announced place, in a state folder called %s',
  async (name) => {
    const store = await chooseStore({ stateRoot: join(folder, name), env: {}, nixRoot })
    const result = await localCommands.run(['nix-store', '--add', '/etc/hostname'], {
      signal: new AbortController().signal,
      timeoutMs: 60_000,
      what: 'add a file',
      env: storeEnvironment(store, { NIX_CONFIG: 'substituters =' }),
    })
    expect(result).toMatchObject({ kind: 'exited', code: 0 })
    expect(isUnbornStore(store)).toBe(false)
  },
)
