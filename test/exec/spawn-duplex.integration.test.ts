import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { localCommands } from '../../src/exec/local-commands.js'
import { never, processesWith, until } from '../fixtures/sshd-session.js'

const open = (argv: readonly string[], signal = never, onLine?: (line: string) => void) =>
  localCommands.spawnDuplex(argv, { signal, what: 'try a pipe', ...(onLine === undefined ? {} : { onLine }) })

describe('a program as a byte pipe', () => {
  it('carries bytes both ways and ends', async () => {
    const pipe = open(['cat'])
    pipe.end('x'.repeat(2_000_000))
    expect((await text(pipe)).length).toBe(2_000_000)
  })

  it('hands out its stderr', async () => {
    const lines: string[] = []
    await text(open(['sh', '-c', 'echo one >&2; echo two >&2'], never, (line) => lines.push(line)))
    await until('both lines are here', () => lines.length === 2)
    expect(lines).toEqual(['one', 'two'])
  })

  it('is an error that names it when it is not installed', async () => {
    const pipe = open(['no-such-program'])
    pipe.write('never read')
    await expect(text(pipe)).rejects.toMatchObject({
      code: 'NOT_INSTALLED',
      message: "cannot try a pipe: the program 'no-such-program' is not installed",
    })
  })

  it.each(['destroyed', 'cancelled'])('ends with its children when it is %s', async (how) => {
    const mark = `35${Date.now()}${Math.floor(Math.random() * 1e6)}`
    const cancel = new AbortController()
    const pipe = open(['sh', '-c', `sleep ${mark} & wait`], cancel.signal)
    pipe.on('error', () => {})
    await until('it runs', () => processesWith(`sleep ${mark}`).length > 0)
    if (how === 'destroyed') pipe.destroy()
    else cancel.abort()
    await until('it is gone', () => processesWith(`sleep ${mark}`).length === 0)
    expect(pipe.destroyed).toBe(true)
  })
})
