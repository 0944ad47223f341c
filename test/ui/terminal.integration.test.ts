import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it } from 'vitest'

const program = join(import.meta.dirname, '..', 'fixtures', 'terminal', 'show-progress.ts')

interface Shown {
  /** All text that was written to the terminal. */
  readonly text: string
  readonly code: number | null
}

/** Runs the program on a terminal of 100 × 30, and types each of the `answers` after its text appears. */
function onTerminal(
  args: readonly string[],
  answers: readonly (readonly [string, string])[] = [],
): Promise<Shown> {
  const command = `stty cols 100 rows 30; exec ${process.execPath} --import tsx '${program}' ${args.join(' ')}`
  // The environment keeps TMPDIR and other variables, but not CI, which turns the moving lines off.
  const { CI: _, ...env } = process.env
  const child = spawn('script', ['-qec', command, '/dev/null'], { env: { ...env, TERM: 'xterm-256color' } })
  const waiting = [...answers]
  let text = ''
  let from = 0
  return new Promise((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      const [next] = waiting
      if (next === undefined || !text.slice(from).includes(next[0])) return
      from = text.length
      waiting.shift()
      child.stdin.write(next[1])
    })
    child.on('error', reject)
    child.on('close', (code) => resolve({ text, code }))
  })
}

/** Returns the visible lines without escape sequences. */
function lines(text: string): string[] {
  return stripVTControlCharacters(text)
    .split(/[\r\n]+/)
    .map((line) => line.trim())
    .filter((line) => line !== '')
}

describe('progress on a terminal', () => {
  it('has a moving line per machine, prints the plan above and the result below', async () => {
    const { text, code } = await onTerminal(['few', '3'])
    expect(code).toBe(0)
    const seen = lines(text)
    expect(seen.indexOf('the plan')).toBeGreaterThan(seen.findIndex((line) => /web1 +inspect/.test(line)))
    expect(seen.findIndex((line) => /web3 +copy +\d s +first/.test(line))).toBeGreaterThan(
      seen.indexOf('the plan'),
    )
    expect(seen.some((line) => /✖ web1 +failed at copy/.test(line))).toBe(true)
    expect(seen.some((line) => /✔ web2 +changed/.test(line))).toBe(true)
    expect(seen.slice(-2)).toEqual(['note: mind this', 'the table'])
  })

  it('lets no output of a machine move the cursor', async () => {
    const { text } = await onTerminal(['few', '1'])
    expect(text).toContain('nginx started')
    expect(text).not.toContain('\u001b[2J')
  })

  it('is one line for many machines', async () => {
    const seen = lines((await onTerminal(['few', '40'])).text)
    expect(seen.some((line) => line.includes('0 of 40 machines done · copy 40'))).toBe(true)
    expect(seen.some((line) => line.includes('40 of 40 machines done · failed: web1'))).toBe(true)
    expect(seen.some((line) => /web7/.test(line))).toBe(false)
  })

  it('stands aside for a question', async () => {
    const { text } = await onTerminal(['confirm', '2'], [['restart web1?', 'y\r']])
    expect(lines(text)).toContain('answered true')
  })

  it('takes Ctrl-C at a question for an interruption', async () => {
    const { text } = await onTerminal(['confirm', '2'], [['restart web1?', '\u0003']])
    expect(lines(text).some((line) => line.includes('answered OpsError: interrupted'))).toBe(true)
    expect(lines(text).at(-1)).toBe('the table')
  })

  it('asks one question after the other, and shows no letter of a secret', async () => {
    const { text } = await onTerminal(
      ['secrets', '2'],
      [
        ['password one:', 'xyzzy\r'],
        ['password two:', 'plugh1\r'],
      ],
    )
    expect(lines(text)).toContain('got 5 and 6 letters')
    expect(text).not.toMatch(/xyzzy|plugh1/)
  })

  it('asks for a choice and for text, again while the answer is wrong, with a suggestion', async () => {
    const { text } = await onTerminal(
      ['text', '2'],
      [
        ['which colour?', '\u001b[B\r'],
        ['how many?', 'x\r'],
        ['digits, please', '\u007f\r'],
        ['which name?', '\r'],
      ],
    )
    expect(lines(text)).toContain("got blue, 7 and ''")
  })
})
