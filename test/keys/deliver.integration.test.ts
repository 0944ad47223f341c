import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { chmod } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Run } from '../../src/core/run.js'
import type { CommandResult, RemoteOptions } from '../../src/core/ssh.js'
import { deliverKeys, inspectKeys, mountUnitsFor, removeKeys } from '../../src/keys/deliver.js'
import type { ResolvedKey } from '../../src/keys/keys.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'

const logged: string[] = []
const run: Run = { signal: new AbortController().signal, log: (line) => logged.push(line) }

/** The machine of these tests has no systemd, because the tests would otherwise write units to the real systemd. */
const withoutSystemd = { moved: { '/run/systemd/system': '/nonexistent' } }

let root: string
let host: LocalShellHost

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'hydra-ops-keys-'))
  host = new LocalShellHost(withoutSystemd)
  logged.length = 0
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function key(name: string, content: string | Uint8Array, more: Partial<ResolvedKey> = {}): ResolvedKey {
  return {
    name,
    path: join(root, name),
    user: String(userInfo().uid),
    group: String(userInfo().gid),
    mode: 0o600,
    uploadAt: 'pre-activation',
    os: 'debian',
    content: Buffer.from(content),
    ...more,
  }
}

async function states(...keys: ResolvedKey[]): Promise<string[]> {
  return (await inspectKeys(host, keys, run)).map((seen) => seen.state)
}

describe('inspectKeys', () => {
  it('tells missing, different and equal keys apart in one round trip', async () => {
    writeFileSync(join(root, 'same'), 'content', { mode: 0o600 })
    writeFileSync(join(root, 'differs'), 'other', { mode: 0o600 })
    writeFileSync(join(root, 'mode'), 'content', { mode: 0o644 })
    mkdirSync(join(root, 'directory'))
    symlinkSync(join(root, 'same'), join(root, 'link'))
    const names = ['same', 'differs', 'mode', 'missing', 'directory', 'link']
    expect(await states(...names.map((name) => key(name, 'content')))).toEqual([
      'same',
      'differs',
      'metadata differs',
      'missing',
      'differs',
      'differs',
    ])
    expect(host.seen).toHaveLength(1)
  })

  it('sees a wrong owner, and an owner that does not exist', async () => {
    writeFileSync(join(root, 'a'), 'content', { mode: 0o600 })
    expect(await states(key('a', 'content', { user: '12345' }))).toEqual(['metadata differs'])
    expect(await states(key('a', 'content', { group: 'no-such-group' }))).toEqual(['metadata differs'])
    expect(await states(key('a', 'content', { user: userInfo().username }))).toEqual(['same'])
  })

  it('cannot tell whether a key is the same when its command did not run', async () => {
    writeFileSync(join(root, 'a'), 'x')
    const { content: _, ...rest } = key('a', '')
    expect(await states({ ...rest, content: undefined })).toEqual(['unknown'])
    expect(await states({ ...rest, path: join(root, 'b'), content: undefined })).toEqual(['missing'])
  })

  it('answers with other hashes each time, so that a listener learns nothing from them', async () => {
    writeFileSync(join(root, 'a'), 'content')
    const answers: string[] = []
    class Listening extends LocalShellHost {
      override async script(
        text: string,
        args: readonly string[],
        options: RemoteOptions,
      ): Promise<CommandResult> {
        const result = await super.script(text, args, options)
        answers.push(result.stdout)
        return result
      }
    }
    const listening = new Listening(withoutSystemd)
    await inspectKeys(listening, [key('a', 'content')], run)
    await inspectKeys(listening, [key('a', 'content')], run)
    expect(answers).toHaveLength(2)
    expect(answers[0]).not.toBe(answers[1])
  })
})

describe('deliverKeys', () => {
  it('delivers exact bytes under any name, is then satisfied, and executes nothing', async () => {
    const name = fc
      .oneof(
        fc.string({ unit: 'binary', minLength: 1, maxLength: 30 }),
        fc.constantFrom('$(touch pwned)', '-n', 'a b', "a'b", 'a"b', 'a\nb\n', '`id`', 'ü', '*'),
      )
      .filter((text) => !/[\0/]/.test(text) && text !== '.' && text !== '..')
      .filter((text) => Buffer.from(text).toString() === text)
    const contents = fc.array(fc.tuple(name, fc.uint8Array({ maxLength: 500 })), {
      minLength: 1,
      maxLength: 4,
    })
    await fc.assert(
      fc.asyncProperty(contents, async (entries) => {
        const folder = mkdtempSync(join(root, 'case-'))
        const unique = [...new Map(entries)]
        const keys = unique.map(([name, content]) => key(name, content, { path: join(folder, name) }))
        const { changed } = await deliverKeys(host, keys, 'pre-activation', run)
        expect(changed).toEqual(unique.map(([name]) => name))
        for (const [name, content] of unique)
          expect(readFileSync(join(folder, name))).toEqual(Buffer.from(content))
        expect(await deliverKeys(host, keys, 'pre-activation', run)).toEqual({
          changed: [],
          ownerless: [],
          unowned: [],
        })
        await removeKeys(
          host,
          { paths: keys.map((each) => each.path), names: unique.map(([name]) => name) },
          run,
        )
        for (const each of keys) expect(existsSync(each.path)).toBe(false)
      }),
      { numRuns: 25 },
    )
    expect(existsSync('pwned')).toBe(false)
  })

  it('does not touch a correct key, even when another key changes', async () => {
    await deliverKeys(host, [key('a', '1'), key('b', '1')], 'pre-activation', run)
    const before = statSync(join(root, 'a'), { bigint: true })
    await deliverKeys(host, [key('a', '1'), key('b', '2')], 'pre-activation', run)
    const after = statSync(join(root, 'a'), { bigint: true })
    expect([after.ino, after.mtimeNs, after.ctimeNs]).toEqual([before.ino, before.mtimeNs, before.ctimeNs])
    expect(readFileSync(join(root, 'b'), 'utf8')).toBe('2')
  })

  it('never leaves the key absent while it is replaced', async () => {
    const path = join(root, 'a')
    await deliverKeys(host, [key('a', 'old')], 'pre-activation', run)
    let reading = true
    const seen = new Set<string>()
    const reader = (async () => {
      while (reading) {
        seen.add(readFileSync(path, 'utf8'))
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    for (let round = 0; round < 6; round += 1) {
      await deliverKeys(host, [key('a', round % 2 ? 'old' : 'new')], 'pre-activation', run)
    }
    reading = false
    await reader
    expect([...seen].sort()).toEqual(['new', 'old'])
  })

  it('gives the key its owner, its mode and its whole content before its name', async () => {
    const bin = mkdtempSync(join(root, 'bin-'))
    // chown needs root, so a stand-in records its argument. The stand-in for mv records mode and size, then calls mv.
    const stat = `stat -c '%a %s' -- "$3"`
    const tools = { chown: 'echo "owner $1"', mv: `${stat}; /bin/mv "$@" >&2` }
    for (const [name, body] of Object.entries(tools))
      writeFileSync(join(bin, name), `#!/bin/sh\n{ ${body}; } >> '${bin}/seen'\n`, { mode: 0o755 })
    writeFileSync(join(root, 'a'), 'older', { mode: 0o644 })
    host = new LocalShellHost({ ...withoutSystemd, bin })
    const owned = key('a', 'new', { user: '12345', group: '54321', mode: 0o440 })
    await deliverKeys(host, [owned], 'pre-activation', run)
    expect(readFileSync(join(bin, 'seen'), 'utf8')).toBe('owner 12345:54321\n440 3\n')
  })

  it('replaces a link by the key instead of writing to the target of the link', async () => {
    writeFileSync(join(root, 'victim'), 'untouched')
    symlinkSync(join(root, 'victim'), join(root, 'a'))
    await deliverKeys(host, [key('a', 'secret')], 'pre-activation', run)
    expect(lstatSync(join(root, 'a')).isSymbolicLink()).toBe(false)
    expect(readFileSync(join(root, 'victim'), 'utf8')).toBe('untouched')
  })

  it('fixes a mode that somebody changed', async () => {
    await deliverKeys(host, [key('a', '1')], 'pre-activation', run)
    await chmod(join(root, 'a'), 0o666)
    const { changed } = await deliverKeys(host, [key('a', '1')], 'pre-activation', run)
    expect(changed).toEqual(['a'])
    expect(statSync(join(root, 'a')).mode & 0o777).toBe(0o600)
  })

  it('holds keys for after the activation back until then', async () => {
    const keys = [key('early', '1'), key('late', '1', { uploadAt: 'post-activation' })]
    await deliverKeys(host, keys, 'pre-activation', run)
    expect([existsSync(join(root, 'early')), existsSync(join(root, 'late'))]).toEqual([true, false])
    const { changed } = await deliverKeys(host, keys, 'post-activation', run)
    expect(changed).toEqual(['late'])
  })

  it('puts no secret on a command line or in the log', async () => {
    await deliverKeys(host, [key('a', 'hunter2')], 'pre-activation', run)
    await deliverKeys(host, [key('a', 'hunter3')], 'post-activation', run)
    expect(JSON.stringify(host.seen) + logged.join('\n')).not.toMatch(/hunter/)
  })

  it('places a key whose owner comes with the activation as root with mode 0600, and sets its owner later', async () => {
    // chown needs root, so a stand-in records its arguments.
    const bin = mkdtempSync(join(root, 'bin-'))
    writeFileSync(join(bin, 'chown'), `#!/bin/sh\necho "$1" >> '${bin}/asked'\n`, { mode: 0o755 })
    host = new LocalShellHost({ ...withoutSystemd, bin })
    const early = { user: 'no-such-user', mode: 0o444 }
    const { ownerless } = await deliverKeys(host, [key('a', 'x', early)], 'pre-activation', run)
    expect(ownerless).toEqual(['a'])
    expect(statSync(join(root, 'a')).mode & 0o777).toBe(0o600)
    expect(readFileSync(join(bin, 'asked'), 'utf8')).toBe('0:0\n')
    const { changed } = await deliverKeys(host, [key('a', 'x', { mode: 0o444 })], 'post-activation', run)
    expect(changed).toEqual(['a'])
    expect(statSync(join(root, 'a')).mode & 0o777).toBe(0o444)
    expect(await states(key('a', 'x', { mode: 0o444 }))).toEqual(['same'])
  })

  it('places the others after the activation when owners still do not exist, and names each such key', async () => {
    const keys = [
      key('a', 'x', { user: 'no-such-user' }),
      key('b', 'x', { group: 'no-such-group' }),
      key('c', 'x'),
    ]
    const { changed, unowned } = await deliverKeys(host, keys, 'post-activation', run)
    expect(changed).toEqual(['c'])
    expect(unowned.map(({ key, missingOwner }) => [key.name, missingOwner])).toEqual([
      ['a', "no user 'no-such-user'"],
      ['b', "no group 'no-such-group'"],
    ])
    for (const name of ['a', 'b']) expect(existsSync(join(root, name))).toBe(false)
    expect(readFileSync(join(root, 'c'), 'utf8')).toBe('x')
  })
})

describe('mountUnitsFor', () => {
  it('returns the mount unit of every directory above the key, escaped as systemd does', () => {
    expect(mountUnitsFor('/mnt/my disk/a-b/key')).toEqual([
      'mnt.mount',
      'mnt-my\\x20disk.mount',
      'mnt-my\\x20disk-a\\x2db.mount',
    ])
    expect(mountUnitsFor('/run/keys/key')).toEqual(['run-keys.mount'])
    expect(mountUnitsFor('/key')).toEqual([])
    expect(mountUnitsFor('/.x/.y/key')).toEqual(['\\x2ex.mount', '\\x2ex-.y.mount'])
  })
})
