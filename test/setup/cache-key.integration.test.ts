import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { bindTask } from '../../src/core/setup-task.js'
import { cacheKeyTask } from '../../src/setup/cache-key.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'
import { taskMachine, taskRun } from '../fakes/task-run.js'
import { taskContract } from './task-contract.js'

const run = taskRun()

let root: string
let directory: string
let host: LocalShellHost

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'hydra-ops-cache-'))
  directory = join(root, "it's a $(folder)")
  host = new LocalShellHost({ asRoot: true })
  // An ordinary user may not open /nix/store, and the creation of a key needs no store.
  vi.stubEnv('NIX_REMOTE', 'dummy://')
})
afterAll(() => {
  vi.unstubAllEnvs()
  rmSync(root, { recursive: true, force: true })
})

function wanted(cacheKey: Record<string, unknown> = {}) {
  const machine = taskMachine({ cacheKey: { enable: true, directory, ...cacheKey } })
  const task = bindTask(cacheKeyTask)(machine)
  if (task === undefined) throw new Error('the cache-key task is not wanted')
  return task
}

/** Returns a key in the form of `nix-store --generate-binary-cache-key`. */
function aKey(): string {
  const folder = mkdtempSync(join(root, 'key-'))
  const [secret, publicFile] = [join(folder, 'secret'), join(folder, 'public')]
  execFileSync('nix-store', ['--generate-binary-cache-key', 'lab-web-1', secret, publicFile])
  return readFileSync(secret, 'utf8')
}

/** Returns the path in single quotes for sh. */
function quoted(path: string): string {
  return `'${path.replaceAll("'", `'\\''`)}'`
}

describe('the cache-key task with the real nix-store', () => {
  taskContract(() => ({
    host,
    task: wanted(),
    // A signature needs a store, which the e2e test has.
    verifiable: false,
    reset: `rm -rf ${quoted(directory)}`,
    damages: {
      'public key gone': `rm ${quoted(`${directory}/cache.pub`)}`,
      'public key of another': `echo lab-web-1:AAAA > ${quoted(`${directory}/cache.pub`)}`,
      'secret key readable by all': `chmod 0644 ${quoted(`${directory}/cache.sec`)}`,
      'directory open to all': `chmod 0755 ${quoted(directory)}`,
      'secret key gone': `rm ${quoted(`${directory}/cache.sec`)}`,
    },
  }))

  it('names the key after deployment and machine, and reports its public part', async () => {
    const outputs = await wanted().apply(host, run)
    expect(outputs).toEqual({
      publicKey: expect.stringMatching(/^lab-web-1:[A-Za-z0-9+/]{43}=$/),
      secretKeyFile: `${directory}/cache.sec`,
    })
    expect(readFileSync(join(directory, 'cache.pub'), 'utf8').trim()).toBe(outputs.publicKey)
    expect(readdirSync(directory)).toEqual(['cache.pub', 'cache.sec'])
  })

  it('never makes an existing key anew, also when only its public part is missing', async () => {
    await wanted().apply(host, run)
    const secret = readFileSync(join(directory, 'cache.sec'), 'utf8')
    rmSync(join(directory, 'cache.pub'))
    await wanted({ keyName: 'lab-web-1' }).apply(host, run)
    expect(readFileSync(join(directory, 'cache.sec'), 'utf8')).toBe(secret)
  })

  it('refuses to replace a key of another name', async () => {
    await wanted().apply(host, run)
    const other = wanted({ keyName: 'cache.example.org-1' })
    expect(await other.probe(host, run)).toEqual({
      drifted: 'the name of the key is lab-web-1, not cache.example.org-1',
    })
    await expect(other.apply(host, run)).rejects.toThrow('holds the key lab-web-1, not cache.example.org-1')
    expect(await wanted().probe(host, run)).toBe('done')
  })

  it.each<[string, (file: string) => void]>([
    ['something else', (file) => writeFileSync(file, 'precious')],
    ['half a key', (file) => writeFileSync(file, aKey().slice(0, 60))],
    ['a public key', (file) => writeFileSync(file, `lab-web-1:${'A'.repeat(43)}=\n`)],
    [
      'a key of another kind',
      (file) => execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file]),
    ],
    ['a key without its name', (file) => writeFileSync(file, aKey().replace(/^[^:]*/, ''))],
    ['a folder', (file) => mkdirSync(file)],
  ])('refuses to touch a file that is not a key: %s', async (_, put) => {
    const folder = mkdtempSync(join(root, 'broken-'))
    const file = join(folder, 'cache.sec')
    put(file)
    const before = execFileSync('tar', ['-C', folder, '-cf-', '.'])
    const task = wanted({ directory: folder })
    expect(await task.probe(host, run)).toEqual({ drifted: 'the file of the secret key holds no valid key' })
    await expect(task.apply(host, run)).rejects.toThrow('is not a Nix signing key; it was not touched')
    expect(execFileSync('tar', ['-C', folder, '-cf-', '.'])).toEqual(before)
  })

  it('makes the pair anew when a crash left an empty secret key and no public key', async () => {
    const folder = mkdtempSync(join(root, 'empty-'))
    writeFileSync(join(folder, 'cache.sec'), '')
    const task = wanted({ directory: folder })
    expect(await task.probe(host, run)).toBe('needed')
    await task.apply(host, run)
    expect(await task.probe(host, run)).toBe('done')
  })

  it('calls the key lost, not needed, when it is an empty file beside a public key that people trust', async () => {
    const folder = mkdtempSync(join(root, 'lost-'))
    const task = wanted({ directory: folder })
    await task.apply(host, run)
    writeFileSync(join(folder, 'cache.sec'), '')
    expect(await task.probe(host, run)).toEqual({ drifted: 'the secret key is missing', lost: true })
  })

  it('makes a key that only root could read readable again for the signing users', async () => {
    await wanted().apply(host, run)
    chmodSync(join(directory, 'cache.sec'), 0o600)
    expect(await wanted().probe(host, run)).toEqual({ drifted: 'owner, group or mode differs' })
    await wanted().apply(host, run)
    expect((statSync(join(directory, 'cache.sec')).mode & 0o777).toString(8)).toBe('640')
  })

  it('names a group that does not exist, and makes nothing', async () => {
    const task = wanted({ directory: join(root, 'none'), group: 'no-such-group' })
    await expect(task.apply(host, run)).rejects.toThrow("group 'no-such-group' does not exist")
    expect(await task.probe(host, run)).toBe('needed')
  })

  it('puts nothing secret into outputs or on a command line', async () => {
    const outputs = await wanted().apply(host, run)
    const secret = readFileSync(join(directory, 'cache.sec'), 'utf8').trim().split(':')[1] ?? ''
    expect(secret).toHaveLength(88)
    expect(JSON.stringify(outputs) + JSON.stringify(host.seen)).not.toContain(secret.slice(0, 40))
  })
})

describe('the cache-key task', () => {
  it('is wanted only when it is enabled', () => {
    expect(bindTask(cacheKeyTask)(taskMachine())).toBeUndefined()
  })
})
