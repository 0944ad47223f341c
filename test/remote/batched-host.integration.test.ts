import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { failure } from '../../src/core/errors.js'
import type { CommandResult, Host, RemoteOptions } from '../../src/core/ssh.js'
import { batchedHost } from '../../src/remote/batched-host.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'
import { withScript } from '../fixtures/with-script.js'

const never = new AbortController().signal

function options(more: Partial<RemoteOptions> = {}): RemoteOptions {
  return { signal: never, timeoutMs: 20_000, what: 'ask', ...more }
}

const ended = (stdout: string, code = 0, stderr = ''): CommandResult => ({
  kind: 'exited',
  code,
  stdout,
  stderr,
})

describe('simultaneous scripts for one machine', () => {
  it('are one command on the machine, and each has its own output, stderr and status', async () => {
    const machine = new LocalShellHost()
    const host = batchedHost(machine)
    const answers = await Promise.all([
      host.script('echo one; echo bad >&2; exit 3', [], options()),
      host.script("printf 'no end of line'", [], options()),
      host.script('printf "%s|" "$@"', ["it's", 'two words', ''], options()),
      host.exec(['printf', '%s\\n\\n', '$HOME'], options()),
      host.script('exit 0', [], options()),
    ])
    expect(answers).toEqual([
      ended('one\n', 3, 'bad\n'),
      ended('no end of line'),
      ended("it's|two words||"),
      ended('$HOME\n\n'),
      ended(''),
    ])
    expect(machine.seen).toHaveLength(1)
  })

  it('cannot disturb each other: variables, exit, syntax errors and signals stay with their script', async () => {
    const machine = new LocalShellHost()
    const host = batchedHost(machine)
    const [killed, broken, after] = await Promise.all([
      host.script("here=set; sh -c 'kill -KILL $PPID'; echo alive", [], options()),
      host.script('if then (', [], options()),
      host.script(
        'echo "${here-unset} ${text-unset} ${4-unset}"; read -r line; echo "[$line]"',
        [],
        options(),
      ),
    ])
    expect(killed).toMatchObject({ code: 137 })
    expect(broken).toMatchObject({ code: 2, stderr: expect.stringContaining('yntax') })
    expect(after).toEqual(ended('unset unset unset\n[]\n'))
    expect(machine.seen).toHaveLength(1)
  })

  it('have their own standard input, which nobody sees in the list of processes', async () => {
    const machine = new LocalShellHost()
    const host = batchedHost(machine)
    const secret = "planted 'secret'\nof two lines"
    const answers = await Promise.all([
      host.script('cat', [], options({ stdin: secret })),
      host.script('cat', [], options()),
      host.script('cat', [], options({ stdin: 'another' })),
    ])
    expect(answers).toEqual([ended(secret), ended(''), ended('another')])
    expect(machine.seen).toHaveLength(1)
    expect(JSON.stringify(machine.seen)).not.toContain('planted')
  })

  it('run at the same time, so that one of them may wait for a later one', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'hydra-ops-batch-'))
    const host = batchedHost(new LocalShellHost())
    const waiting = `while [ ! -e ${folder}/there ]; do sleep 0.05; done; echo seen`
    try {
      const answers = await Promise.all([
        host.script(waiting, [], options()),
        host.script(`: > ${folder}/there; echo made`, [], options()),
      ])
      expect(answers).toEqual([ended('seen\n'), ended('made\n')])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('keep their order and every byte when each prints more than a pipe can hold', async () => {
    const host = batchedHost(new LocalShellHost())
    const long = (letter: string) => `head -c 300000 /dev/zero | tr '\\0' ${letter}; echo`
    const answers = await Promise.all(
      ['a', 'b', 'c'].map((letter) => host.script(long(letter), [], options())),
    )
    expect(answers.map(({ stdout }) => stdout)).toEqual(
      ['a', 'b', 'c'].map((letter) => `${letter.repeat(300_000)}\n`),
    )
  })

  it('give their lines to their own watchers', async () => {
    const host = batchedHost(new LocalShellHost())
    const lines: string[] = []
    const onLine = (line: string, stream: string) => lines.push(`${stream} ${line}`)
    await Promise.all([
      host.script('echo one; echo two; echo bad >&2', [], options({ onLine })),
      host.script('echo other', [], options()),
    ])
    expect(lines).toEqual(['stdout one', 'stdout two', 'stderr bad'])
  })

  it('run once when they are the same', async () => {
    const machine = new LocalShellHost()
    const host = batchedHost(machine)
    const [one, two, other] = await Promise.all([
      host.script('echo $$', [], options()),
      host.script('echo $$', [], options()),
      host.script('echo other', [], options()),
    ])
    expect(one).toEqual(two)
    expect(other).toEqual(ended('other\n'))
  })

  it('are one command again for the questions that depend on the answers', async () => {
    const machine = new LocalShellHost()
    const host = batchedHost(machine)
    const ask = async (word: string) => {
      const first = await host.script(`echo ${word}`, [], options())
      return host.script(`echo again ${first.stdout}`, [], options())
    }
    expect(await Promise.all(['a', 'b', 'c'].map(ask))).toEqual(
      ['a', 'b', 'c'].map((word) => ended(`again ${word}\n`)),
    )
    expect(machine.seen).toHaveLength(2)
  })
})

describe('a single script', () => {
  it('is passed to the machine unchanged, when nothing else is requested', async () => {
    const texts: string[] = []
    const machine = new LocalShellHost()
    const host = batchedHost(
      withScript(machine, (text, args, given) => {
        texts.push(text)
        return machine.script(text, args, given)
      }),
    )
    expect(await host.script('cat', [], options({ stdin: 'given' }))).toEqual(ended('given'))
    expect(texts).toEqual(['cat'])
  })

  it('is a command of its own when it runs as the login user, or is too long for one argument', async () => {
    const machine = new LocalShellHost()
    const host = batchedHost(machine)
    await Promise.all([
      host.script('true', [], options({ asLoginUser: true })),
      host.script(`true ${'x'.repeat(70_000)}`, [], options()),
      host.script('true', [], options()),
    ])
    expect(machine.seen).toHaveLength(3)
  })
})

describe('a command that ends before its time', () => {
  /** Creates a machine whose command fails after a part of its output. */
  function failing(fail: (text: string) => Promise<CommandResult>): Host {
    const machine = new LocalShellHost()
    return withScript(machine, async (text, args, given) => {
      const cut = text.replace('|| read -r _', '|| exit 9')
      const result = await machine.script(cut, args, given)
      return { ...(await fail(text)), stdout: result.stdout }
    })
  }

  it('keeps the complete answers, and a deadline names the script that was running', async () => {
    const host = batchedHost(
      failing(async () => {
        throw failure('DEADLINE', 'a, b, c: did not end within 20 s')
      }),
    )
    const [first, second, third] = await Promise.allSettled([
      host.script('echo one', [], options({ what: 'a' })),
      host.script('echo two', [], options({ what: 'b' })),
      host.script('echo three', [], options({ what: 'c' })),
    ])
    expect(first).toMatchObject({ value: ended('one\n') })
    for (const each of [second, third])
      expect(each).toMatchObject({
        reason: { code: 'DEADLINE', message: expect.stringContaining(": 'b' did not end") },
      })
  })

  it('reports a lost connection for the scripts without an answer', async () => {
    const host = batchedHost(failing(async () => ({ kind: 'lost', stdout: '', stderr: '' })))
    const answers = await Promise.all(
      ['one', 'two', 'three'].map((word) => host.script(`echo ${word}`, [], options())),
    )
    expect(answers).toEqual([
      ended('one\n'),
      { kind: 'lost', stdout: '', stderr: '' },
      { kind: 'lost', stdout: '', stderr: '' },
    ])
  })
})
