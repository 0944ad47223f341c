import { describe, expect, it } from 'vitest'
import { localCommands } from '../../src/exec/local-commands.js'
import { never } from '../fixtures/sshd-session.js'

const options = { signal: never, timeoutMs: 120_000, what: 'print without end' }
/** A script that writes a first line, then far more than is kept, then a last line. */
const talk = 'echo first >&2; head -c 120000000 /dev/zero | tr "\\0" x >&2; echo >&2; echo last >&2; exit 3'

function expectEnds(result: { readonly kind: string; readonly stderr: string }): void {
  expect(result).toMatchObject({ kind: 'exited', code: 3 })
  expect(result.stderr.startsWith('first\n')).toBe(true)
  expect(result.stderr.trimEnd().endsWith('\nlast')).toBe(true)
  expect(result.stderr.length).toBeLessThan(3_000_000)
}

describe('a local command with more errors than are kept', () => {
  it('goes on to its end, and its first and last words are kept', async () => {
    expectEnds(await localCommands.run(['sh', '-c', talk], options))
  })

  it('also goes on when its output is read from a stream', async () => {
    const { stdout, done } = localCommands.spawnReadable(['sh', '-c', talk], options)
    stdout.resume()
    expectEnds(await done)
  })
})

describe('a local command with more output than an answer may have', () => {
  it('is ended, and the error says so', async () => {
    await expect(localCommands.run(['sh', '-c', 'yes'], options)).rejects.toMatchObject({
      code: 'OUTPUT_TOO_LARGE',
      message: "cannot print without end: 'sh' printed more than 100 MB",
      hint: expect.stringContaining('by hand'),
    })
  })
})
