import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Run } from '../../src/core/run.js'
import type { CommandResult, RemoteOptions } from '../../src/core/ssh.js'
import { type PlacedFile, placeFiles, stagedPath } from '../../src/remote/place-files.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'

const me = { user: String(userInfo().uid), group: String(userInfo().gid) }
const run: Run = { signal: new AbortController().signal, log: () => {} }
const options = { run, what: 'place files' }

let root: string
let host: LocalShellHost

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'hydra-ops-place-'))
  host = new LocalShellHost()
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function file(name: string, content: string | Uint8Array, more: Partial<PlacedFile> = {}): PlacedFile {
  return { path: join(root, name), content, mode: 0o600, ...me, ...more }
}

function modeOf(path: string): number {
  return statSync(path).mode & 0o7777
}

/** File names with every byte that Linux allows: anything but NUL and slash. */
const fileName = fc
  .oneof(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }),
    fc.constantFrom(
      '-rf',
      '--',
      '$(touch pwned)',
      '`id`',
      'a b',
      "a'b",
      'a"b',
      'a\nb',
      'a\n',
      '*',
      'ümlaut',
      '\\',
      '~',
      ' ',
    ),
  )
  .filter((name) => !/[\0/]/.test(name) && name !== '.' && name !== '..' && Buffer.byteLength(name) <= 255)
  .filter((name) => Buffer.from(name).toString() === name)

describe('placeFiles', () => {
  it('puts exact bytes under exact names, whatever they are, and executes nothing', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.tuple(fileName, fc.uint8Array({ maxLength: 3000 })), {
          maxLength: 6,
          selector: ([name]) => name,
        }),
        async (entries) => {
          const folder = mkdtempSync(join(root, 'case-'))
          const files = entries.map(([name, content]) => file('', content, { path: join(folder, name) }))
          expect(await placeFiles(host, files, options)).toEqual([])
          expect(new Set(readdirSync(folder))).toEqual(new Set(entries.map(([name]) => name)))
          for (const [name, content] of entries) {
            expect(readFileSync(join(folder, name)).equals(Buffer.from(content))).toBe(true)
          }
        },
      ),
      { numRuns: 60 },
    )
    expect(existsSync('pwned')).toBe(false)
  })

  it('carries a file of several megabytes', async () => {
    const content = Buffer.alloc(5_000_000, 'ab\0\n')
    await placeFiles(host, [file('big', content), file('after', 'x')], options)
    expect(readFileSync(join(root, 'big')).equals(content)).toBe(true)
    expect(readFileSync(join(root, 'after'), 'utf8')).toBe('x')
  })

  it('never puts content on a command line', async () => {
    await placeFiles(host, [file('a', 'very-secret')], options)
    expect(JSON.stringify(host.seen)).not.toContain('very-secret')
  })

  it('gives the requested mode, also over an existing file of another mode', async () => {
    writeFileSync(join(root, 'a'), 'old', { mode: 0o644 })
    await placeFiles(host, [file('a', 'new', { mode: 0o440 })], options)
    expect(modeOf(join(root, 'a'))).toBe(0o440)
    expect(readFileSync(join(root, 'a'), 'utf8')).toBe('new')
  })

  it('gives a file its mode and whole content before its name, also over a file of another mode', async () => {
    const bin = mkdtempSync(join(root, 'bin-'))
    // The stand-in records mode and size of the file that it renames, then becomes the real mv.
    const record = `stat -c '%a %s' -- "$3" >> '${bin}/seen' && exec /bin/mv "$@"`
    writeFileSync(join(bin, 'mv'), `#!/bin/sh\n[ "$1 $2" = '-fT --' ] && ${record}\n`, { mode: 0o755 })
    writeFileSync(join(root, 'a'), 'older', { mode: 0o644 })
    const files = [file('a', 'new', { mode: 0o440 }), file('b', 'more')]
    await placeFiles(new LocalShellHost({ bin }), files, options)
    expect(readFileSync(join(bin, 'seen'), 'utf8')).toBe('440 3\n600 4\n')
    expect([modeOf(join(root, 'a')), readFileSync(join(root, 'a'), 'utf8')]).toEqual([0o440, 'new'])
  })

  it('makes a missing directory', async () => {
    const directory = { mode: 0o750, group: groupName() }
    await placeFiles(host, [file('x/y/a', 'new', { directory })], options)
    expect(modeOf(join(root, 'x/y'))).toBe(0o750)
    expect(modeOf(join(root, 'x'))).toBe(0o755)
  })

  it('overwrites the leftovers of a crash, and leaves nothing of its own', async () => {
    writeFileSync(stagedPath(join(root, 'a')), 'half')
    chmodSync(stagedPath(join(root, 'a')), 0o000)
    await placeFiles(host, [file('a', 'whole')], options)
    expect(readdirSync(root)).toEqual(['a'])
  })

  it('does not follow a foreign link in the place where it stages', async () => {
    const { symlinkSync } = await import('node:fs')
    writeFileSync(join(root, 'victim'), 'untouched')
    symlinkSync(join(root, 'victim'), stagedPath(join(root, 'a')))
    await placeFiles(host, [file('a', 'secret')], options)
    expect(readFileSync(join(root, 'victim'), 'utf8')).toBe('untouched')
    expect(readFileSync(join(root, 'a'), 'utf8')).toBe('secret')
  })

  it('shows a reader either the old or the new file, never a missing one', async () => {
    const path = join(root, 'a')
    writeFileSync(path, 'old')
    let reading = true
    const seen = new Set<string>()
    const reader = (async () => {
      while (reading) {
        seen.add(readFileSync(path, 'utf8'))
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    for (let round = 0; round < 10; round += 1)
      await placeFiles(host, [file('a', round % 2 ? 'old' : 'new')], options)
    reading = false
    await reader
    expect([...seen].sort()).toEqual(['new', 'old'])
  })

  it('places none when one cannot be placed', async () => {
    mkdirSync(join(root, 'b'))
    await expect(placeFiles(host, [file('a', '1'), file('b', '2')], options)).rejects.toThrow(
      /machine 'local': cannot place files: ".*\/b": a directory is in its place/,
    )
    expect(readdirSync(root)).toEqual(['b'])
  })

  it('places none when the connection is cut in the middle of the content', async () => {
    writeFileSync(join(root, 'a'), 'old')
    await expect(
      placeFiles(new CuttingHost(), [file('a', 'new'), file('b', 'B'.repeat(1000))], options),
    ).rejects.toThrow(/\/b": it could not be written completely/)
    expect(readdirSync(root)).toEqual(['a'])
    expect(readFileSync(join(root, 'a'), 'utf8')).toBe('old')
  })

  it('refuses a user or group that does not exist, and names file and owner', async () => {
    await expect(placeFiles(host, [file('a', '1', { user: 'no-such-user' })], options)).rejects.toThrow(
      /\/a": the machine has no user 'no-such-user'/,
    )
    await expect(placeFiles(host, [file('a', '1', { group: 'no-such-group' })], options)).rejects.toThrow(
      /\/a": the machine has no group 'no-such-group'/,
    )
    expect(readdirSync(root)).toEqual([])
  })
})

/** A machine that loses the second half of every input. */
class CuttingHost extends LocalShellHost {
  override script(text: string, args: readonly string[], given: RemoteOptions): Promise<CommandResult> {
    const whole = Buffer.from(given.stdin as Uint8Array)
    return super.script(text, args, { ...given, stdin: whole.subarray(0, whole.length / 2) })
  }
}

function groupName(): string {
  const entry = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((line) => line.split(':')[2] === me.group)
  return entry?.split(':')[0] ?? ''
}
