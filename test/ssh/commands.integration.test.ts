import { createHash, randomUUID } from 'node:crypto'
import { PassThrough, Readable } from 'node:stream'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Host } from '../../src/core/ssh.js'
import { type Sshd, startSshd } from '../fixtures/sshd.js'
import {
  connected,
  endProcessesWith,
  processesWith,
  remote,
  testSsh,
  until,
} from '../fixtures/sshd-session.js'

let sshd: Sshd
let host: Host

beforeAll(async () => {
  sshd = await startSshd()
  host = await connected(sshd.target())
})

afterAll(async () => {
  host.close()
  await sshd.stop()
})

describe('a command', () => {
  it('gives its output, its errors and its status, each exactly', async () => {
    const result = await host.script('printf "a\\n\\nb "; printf "  e" >&2; exit 7', [], remote())
    expect(result).toEqual({ kind: 'exited', code: 7, stdout: 'a\n\nb ', stderr: '  e' })
  })

  it('has no input unless it is given one, and does not wait for any', async () => {
    expect(await host.exec(['cat'], remote())).toMatchObject({ code: 0, stdout: '' })
  })

  it('speaks UTF-8 and finds the programs of root', async () => {
    const { stdout } = await host.script('echo "$LC_ALL"; command -v useradd', [], remote())
    expect(stdout).toMatch(/^C\.UTF-8\n.*\/useradd\n$/)
  })

  it('gets any arguments and any input to the byte', { timeout: 170_000 }, async () => {
    const text = fc.string({ unit: 'binary', maxLength: 30 }).map((each) => each.replaceAll('\0', '"'))
    await fc.assert(
      fc.asyncProperty(fc.array(text, { minLength: 1 }), fc.uint8Array(), async (args, input) => {
        const { stdout } = await host.script(
          'printf "%s\\0" "$@"; od -An -v -tx1 | tr -d " \\n"',
          args,
          remote({ stdin: input }),
        )
        expect(stdout).toBe(args.map((arg) => `${arg}\0`).join('') + Buffer.from(input).toString('hex'))
      }),
      { numRuns: 25 },
    )
  })

  it('hands out each line as it arrives, also the last without an end', async () => {
    const lines: string[] = []
    const input = new PassThrough()
    const running = host.script(
      'echo "é 1"; echo two >&2; read -r line; printf "%s" "$line"',
      [],
      remote({ stdin: input, onLine: (line, stream) => lines.push(`${stream}: ${line}`) }),
    )
    await until('both lines arrive while it waits', () => lines.length === 2)
    expect([...lines].sort()).toEqual(['stderr: two', 'stdout: é 1'])
    input.end('three\n')
    await running
    expect(lines.at(-1)).toBe('stdout: three')
  })

  it('is not a success when it is killed', async () => {
    expect(await host.exec(['sh', '-c', 'kill -KILL $$'], remote())).toMatchObject({
      kind: 'exited',
      code: 137,
    })
  })

  it('reports a kill of its whole process group', async () => {
    const result = await host.script(
      'read -r _ _ _ _ group _ </proc/$$/stat; kill -KILL "-$group"',
      [],
      remote(),
    )
    expect(result).toMatchObject({ kind: 'killed', signal: 'SIGKILL' })
  })

  it('ends at its own end when it leaves a daemon behind', async () => {
    const mark = `30${Date.now()}`
    const result = await host.script(`echo started; sleep ${mark} &`, [], remote())
    expect(result).toMatchObject({ code: 0, stdout: 'started\n' })
    endProcessesWith(`sleep ${mark}`)
  })
})

describe('many commands', () => {
  it('run at once, also beyond the limit of sshd for one connection', async () => {
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        host.script('sleep 0.2; echo "$1"', [String(index)], remote()),
      ),
    )
    expect(results.map(({ stdout }) => stdout)).toEqual(results.map((_, index) => `${index}\n`))
  })

  it('run on a server with a lower limit than usual', async () => {
    const strict = await startSshd({ config: ['MaxSessions 2'] })
    const narrow = await connected(strict.target())
    const results = await Promise.all(
      Array.from({ length: 9 }, (_, index) => narrow.exec(['echo', String(index)], remote())),
    )
    expect(results.map(({ stdout }) => stdout)).toEqual(results.map((_, index) => `${index}\n`))
    narrow.close()
    await strict.stop()
  })
})

describe('much data', () => {
  it('comes out whole: 14 MB on stdout while stderr talks too', async () => {
    const result = await host.script(
      'head -c 14000000 /dev/zero | tr "\\0" x; head -c 100000 /dev/zero | tr "\\0" e >&2',
      [],
      remote(),
    )
    expect(result.stdout.length).toBe(14_000_000)
    expect(result.stderr.length).toBe(100_000)
  })

  it('goes in whole: 200 MB from a stream', { timeout: 175_000 }, async () => {
    const chunk = Buffer.alloc(1_000_000, 'hydra')
    const hash = createHash('sha256')
    const source = Readable.from(
      (function* () {
        for (let sent = 0; sent < 200; sent++) {
          hash.update(chunk)
          yield chunk
        }
      })(),
    )
    const result = await host.exec(['sha256sum'], remote({ stdin: source, timeoutMs: 170_000 }))
    expect(result.stdout.split(' ')[0]).toBe(hash.digest('hex'))
  })

  it('is not read ahead of a slow command, nor waited for by a satisfied command', async () => {
    let pulled = 0
    const endless = new Readable({
      read() {
        pulled += 65_536
        this.push(Buffer.alloc(65_536))
      },
    })
    const result = await host.script('sleep 1; head -c 5', [], remote({ stdin: endless }))
    expect(result).toMatchObject({ kind: 'exited', code: 0 })
    // The channel's window and the buffers on the way hold a few MB.
    expect(pulled).toBeLessThan(50_000_000)
    await until('the source learns that nobody reads', () => endless.destroyed)
  })
})

describe('endless errors of a command', () => {
  it('let it go on, and their first and last words are kept', async () => {
    const talk =
      'echo first >&2; head -c 20000000 /dev/zero | tr "\\0" x >&2; echo >&2; echo last >&2; echo out; exit 3'
    const result = await host.script(talk, [], remote())
    expect(result).toMatchObject({ kind: 'exited', code: 3, stdout: 'out\n' })
    expect(result.stderr.startsWith('first\n')).toBe(true)
    expect(result.stderr.endsWith('\nlast\n')).toBe(true)
    expect(result.stderr.length).toBeLessThan(3_000_000)
  })
})

describe('an input that breaks off', () => {
  it('is an error and never counts as the end of the input', async () => {
    const mark = `/tmp/hydra-ops-${randomUUID()}`
    const source = new PassThrough()
    const running = host.script(
      'cat >/dev/null; touch "$1"',
      [mark],
      remote({ stdin: source, what: 'import' }),
    )
    running.catch(() => {})
    source.write('half of it')
    await until('the command runs', () => processesWith(mark).length > 0)
    source.destroy(new Error('the disk is gone'))
    await expect(running).rejects.toThrow(
      'cannot import: the input of the command could not be read (the disk is gone)',
    )
    const looked = await host.exec(['test', '-e', mark], remote())
    expect(looked).toMatchObject({ code: 1 })
  })
})

describe('a cancelled command', () => {
  const marked = () => `31${Date.now()}${Math.floor(Math.random() * 1e6)}`

  it('leaves no process behind at its deadline, and the error names it', async () => {
    const mark = marked()
    const running = host.script(
      `echo evidence >&2; sleep ${mark}`,
      [],
      remote({ timeoutMs: 5_000, what: 'wait' }),
    )
    await expect(running).rejects.toMatchObject({
      code: 'DEADLINE',
      machine: 'web',
      message: "machine 'web': cannot wait: the command did not end within 5 s",
      detail: 'evidence',
    })
    await until('its processes are gone', () => processesWith(`sleep ${mark}`).length === 0)
  })

  it('leaves no process behind after its signal, even when it ignores SIGTERM', async () => {
    const mark = marked()
    const cancel = new AbortController()
    const script = `trap '' TERM; sleep ${mark} & sh -c "trap '' TERM; sleep ${mark}"; wait`
    const running = host.script(script, [], remote({ signal: cancel.signal }))
    running.catch(() => {})
    await until('it runs', () => processesWith(`sleep ${mark}`).length >= 2)
    cancel.abort()
    await expect(running).rejects.toMatchObject({ code: 'INTERRUPTED', exitCode: 130 })
    await until('its processes are gone', () => processesWith(`sleep ${mark}`).length === 0)
  })

  it('leaves no process behind when it had not begun', async () => {
    const mark = marked()
    const cancel = new AbortController()
    const running = host.exec(['sleep', mark], remote({ signal: cancel.signal }))
    setImmediate(() => cancel.abort())
    await expect(running).rejects.toMatchObject({ code: 'INTERRUPTED' })
    expect(await host.exec(['true'], remote())).toMatchObject({ code: 0 })
    await until('its processes are gone', () => processesWith(`sleep ${mark}`).length === 0)
  })

  it('does not go on waiting for a free channel', async () => {
    const mark = marked()
    const all = new AbortController()
    const busy = Array.from({ length: 8 }, () => host.exec(['sleep', mark], remote({ signal: all.signal })))
    for (const each of busy) each.catch(() => {})
    await until('eight run', () => processesWith(`sleep ${mark}`).length >= 8)
    const cancel = new AbortController()
    const waiting = host.exec(['true'], remote({ signal: cancel.signal }))
    cancel.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'INTERRUPTED' })
    all.abort()
    await Promise.allSettled(busy)
    await until('the eight are gone', () => processesWith(`sleep ${mark}`).length === 0)
    expect(await host.exec(['true'], remote())).toMatchObject({ code: 0 })
  })
})

describe('a lost connection', () => {
  it('is never a success in the middle of a command', async () => {
    const doomed = await startSshd()
    const lost = await connected(doomed.target())
    const mark = `32${Date.now()}`
    const lines: string[] = []
    const onLine = (line: string) => lines.push(line)
    const running = lost.script(`echo begun; sleep ${mark}`, [], remote({ onLine }))
    await until('its first line is here', () => lines.length > 0)
    for (const pid of doomed.connections()) process.kill(pid, 'SIGKILL')
    expect(await running).toMatchObject({ kind: 'lost', stdout: 'begun\n' })
    await expect(lost.exec(['true'], remote())).rejects.toMatchObject({ code: 'UNREACHABLE', exitCode: 4 })
    endProcessesWith(`sleep ${mark}`)
    await doomed.stop()
  })

  it('is noticed by keepalive when the peer freezes', async () => {
    const frozen = await startSshd()
    const ssh = testSsh({ keepalive: { intervalMs: 500, countMax: 3 } })
    const stuck = await connected(frozen.target(), {}, ssh)
    const mark = `33${Date.now()}`
    const running = stuck.exec(['sleep', mark], remote({ timeoutMs: 120_000 }))
    await until('it runs', () => processesWith(`sleep ${mark}`).length > 0)
    for (const pid of frozen.connections()) process.kill(pid, 'SIGSTOP')
    expect(await running).toMatchObject({ kind: 'lost' })
    await expect(stuck.exec(['true'], remote())).rejects.toThrow('is lost (Keepalive timeout)')
    await frozen.stop()
  })

  it('ends its commands when it was closed by us', async () => {
    const closing = await connected(sshd.target())
    const input = new PassThrough()
    const lines: string[] = []
    const running = closing.script(
      'echo begun; cat',
      [],
      remote({ stdin: input, onLine: (line) => lines.push(line) }),
    )
    await until('it runs', () => lines.length > 0)
    closing.close()
    expect(await running).toMatchObject({ kind: 'lost', stdout: 'begun\n' })
  })
})
