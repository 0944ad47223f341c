import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { LocalCommands } from '../../src/core/context.js'
import type { Run } from '../../src/core/run.js'
import {
  checkKeys,
  droppedKeys,
  planKeys,
  type ResolvedKey,
  recordOfKeys,
  recordWhileDelivering,
  resolveKeys,
  type SeenKey,
} from '../../src/keys/keys.js'
import { debianMachine } from '../fakes/debian-machine.js'

const run: Run = { signal: new AbortController().signal, log: () => {} }

/** Creates a stand-in for the operator's commands, which prints the given text. */
function commands(result: { code: number; stdout: string; stderr?: string }) {
  const calls: string[][] = []
  const local: Pick<LocalCommands, 'run'> = {
    run: async (argv) => {
      calls.push([...argv])
      return { kind: 'exited', stderr: '', ...result }
    },
  }
  return { local, calls }
}

const { local } = commands({ code: 0, stdout: '' })

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-keys-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('resolveKeys', () => {
  it('takes the text, the bytes of the file, or the output of the command', async () => {
    const file = join(folder, 'binary')
    writeFileSync(file, Buffer.from([0, 255, 10]))
    const { local, calls } = commands({ code: 0, stdout: '\u0000\u00ff' })
    const machine = debianMachine({
      keys: { a: { text: 'ü' }, b: { keyFile: file }, c: { keyCommand: ['pass', 'show'] } },
    })
    const keys = await resolveKeys(machine, { local, run, runCommands: true, known: new Map() })
    expect(keys.map((key) => Buffer.from(key.content ?? []).toString('hex'))).toEqual([
      'c3bc',
      '00ff0a',
      '00ff',
    ])
    expect(calls).toEqual([['pass', 'show']])
  })

  it('has NixOps’ defaults and Colmena’s options', async () => {
    const machine = debianMachine({
      keys: {
        plain: { text: 'x' },
        odd: {
          text: 'x',
          name: 'file',
          destDir: '/etc/x/',
          user: 'www',
          group: 'web',
          permissions: '0440',
          uploadAt: 'post-activation',
        },
      },
    })
    const [plain, odd] = await resolveKeys(machine, { local, run, runCommands: true, known: new Map() })
    expect(plain).toMatchObject({
      path: '/run/keys/plain',
      user: 'root',
      group: 'root',
      mode: 0o600,
      uploadAt: 'pre-activation',
    })
    expect(odd).toMatchObject({
      name: 'odd',
      path: '/etc/x/file',
      user: 'www',
      group: 'web',
      mode: 0o440,
      uploadAt: 'post-activation',
    })
  })

  it('runs no command in a dry run', async () => {
    const { local, calls } = commands({ code: 0, stdout: 'x' })
    const machine = debianMachine({ keys: { c: { keyCommand: ['pass'] } } })
    const [key] = await resolveKeys(machine, { local, run, runCommands: false, known: new Map() })
    expect(key?.content).toBeUndefined()
    expect(calls).toEqual([])
  })

  it('names machine, key and file when a key file is missing', async () => {
    const machine = debianMachine({ keys: { db: { keyFile: '/nowhere/secret' } } })
    await expect(resolveKeys(machine, { local, run, runCommands: true, known: new Map() })).rejects.toThrow(
      `machine 'web': key "db": keyFile /nowhere/secret does not exist`,
    )
  })

  it.each([0, 3])('runs a command once for the same run when it ends with %d', async (code) => {
    const { local, calls } = commands({ code, stdout: 'x' })
    const machine = debianMachine({ keys: { c: { keyCommand: ['pass'] }, d: { keyCommand: ['pass'] } } })
    const known = new Map()
    const looks = [1, 2].map(() => resolveKeys(machine, { local, run, runCommands: true, known }))
    const [first, second] = await Promise.allSettled(looks)
    expect(second).toEqual(first)
    expect(first).toMatchObject({ status: code === 0 ? 'fulfilled' : 'rejected' })
    expect(calls).toHaveLength(2)
  })

  it('reveals no output of a failing command', async () => {
    const { local } = commands({ code: 3, stdout: 'hunter2', stderr: 'hunter2' })
    const machine = debianMachine({ keys: { db: { keyCommand: ['pass', 'hunter2'] } } })
    const error: unknown = await resolveKeys(machine, {
      local,
      run,
      runCommands: true,
      known: new Map(),
    }).catch((thrown) => thrown)
    expect(error).toMatchObject({ message: `machine 'web': key "db": keyCommand 'pass' ended with status 3` })
    expect(JSON.stringify(error) + String(error)).not.toContain('hunter2')
  })
})

describe('checkKeys', () => {
  it.each([
    ['no source', { a: {} }, 'give exactly one of text, keyFile and keyCommand'],
    ['two sources', { a: { text: 'x', keyFile: '/y' } }, 'give exactly one of text, keyFile and keyCommand'],
    [
      'a slash in the file name',
      { a: { text: 'x', name: '../etc/passwd' } },
      '"../etc/passwd" is not a valid file name',
    ],
    ['a slash in the name', { '/a': { text: 'x', name: 'a' } }, 'a name with "/" is not allowed'],
    ['a name that is a directory', { '..': { text: 'x' } }, '".." is not a valid file name'],
    ['a name that is too long', { a: { text: 'x', name: 'ü'.repeat(128) } }, 'is not a valid file name'],
    [
      'two keys in one place',
      { a: { text: 'x' }, b: { text: 'y', name: 'a', destDir: '/run/keys/' } },
      'key "a" has the same destination /run/keys/a',
    ],
  ])('refuses %s', (_, keys, message) => {
    expect(() => checkKeys(debianMachine({ keys }))).toThrow(message)
  })

  it('refuses a unit of the expression that has the name of a key’s unit', () => {
    const machine = {
      ...debianMachine({ keys: { db: { text: 'x' } } }),
      units: { 'db-key.service': { hash: 'x', enable: true } },
    }
    expect(() => checkKeys(machine)).toThrow(
      'its unit would be db-key.service, which deployment.units defines too',
    )
  })

  it('accepts every other name', () => {
    expect(() =>
      checkKeys(debianMachine({ keys: { '$(id)\n': { text: 'x' }, "a'b": { text: '' } } })),
    ).not.toThrow()
  })
})

function resolved(name: string, path = `/run/keys/${name}`): ResolvedKey {
  return {
    name,
    path,
    user: 'root',
    group: 'root',
    mode: 0o600,
    uploadAt: 'pre-activation',
    os: 'debian',
    content: Buffer.from('x'),
  }
}

describe('the record of the keys', () => {
  it('holds, before a delivery, every key that may be on the machine', () => {
    const recorded = { a: '/run/keys/a', moved: '/old/moved', gone: '/run/keys/gone' }
    const wanted = [resolved('a'), resolved('moved'), resolved('new')]
    const during = recordWhileDelivering(recorded, wanted)
    expect(new Set(Object.values(during))).toEqual(
      new Set(['/run/keys/a', '/old/moved', '/run/keys/moved', '/run/keys/gone', '/run/keys/new']),
    )
    expect(droppedKeys(during, wanted)).toEqual({ paths: ['/run/keys/gone', '/old/moved'], names: ['gone'] })
    expect(recordWhileDelivering(during, wanted)).toEqual(during)
  })

  it('holds, after a delivery, the wanted keys', () => {
    const wanted = [resolved('a'), resolved('b', '/etc/b')]
    expect(recordOfKeys(wanted)).toEqual({ a: '/run/keys/a', b: '/etc/b' })
    expect(droppedKeys(recordOfKeys(wanted), wanted)).toEqual({ paths: [], names: [] })
  })
})

describe('planKeys', () => {
  function seen(name: string, state: SeenKey['state'], more: Partial<SeenKey> = {}): SeenKey {
    return { key: resolved(name), state, unitDiffers: false, shut: false, missingOwner: undefined, ...more }
  }

  it('says nothing when all keys are correct', () => {
    expect(planKeys([seen('a', 'same')], { a: '/run/keys/a' })).toEqual([])
  })

  it('has a line per kind of change', () => {
    const items = planKeys(
      [
        seen('new', 'missing'),
        seen('odd name', 'missing'),
        seen('db', 'differs'),
        seen('owner', 'metadata differs'),
        seen('unit', 'same', { unitDiffers: true }),
        seen('folder', 'same', { shut: true }),
        seen('token', 'unknown'),
        seen('early', 'missing', { missingOwner: "no user 'app'" }),
      ],
      { db: '/run/keys/db', gone: '/run/keys/gone' },
    )
    expect(items).toEqual([
      { subject: 'keys', action: 'add', detail: 'new, "odd name"' },
      { subject: 'keys', action: 'replace', detail: 'db' },
      { subject: 'keys', action: 'change', detail: 'owner', note: 'owner, group or mode' },
      { subject: 'keys', action: 'change', detail: 'unit', note: 'the unit of the key' },
      { subject: 'keys', action: 'change', detail: 'folder', note: 'the folder must give its owner access' },
      {
        subject: 'keys',
        action: 'replace',
        detail: 'token',
        note: 'the content is unknown until the deploy',
      },
      {
        subject: 'keys',
        action: 'add',
        detail: 'early',
        note: "no user 'app' yet; this deploy must create it",
      },
      { subject: 'keys', action: 'remove', detail: 'gone' },
    ])
  })
})
