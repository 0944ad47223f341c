import { spawn, spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { argvScript, forLoginShell, framedScript, parameterScript } from '../../src/ssh/command-line.js'
import { FrameParser, newNonce } from '../../src/ssh/framing.js'

/** More shells, which are tested if they are installed. */
const optional = ['zsh', 'ksh', 'mksh', 'yash'].filter(
  (shell) => spawnSync(shell, ['-c', 'exit 0']).error === undefined,
)
const shells = ['sh', 'bash', 'dash', 'fish', 'tcsh', ...optional]

interface Ran {
  readonly stdout: Buffer
  readonly stderr: string
  readonly status: number | undefined
  readonly noise: string
}

/** Runs a script as sshd does: the login shell with `-c` and one string. */
function runBy(shell: string, script: string, stdin = ''): Promise<Ran> {
  const nonce = newNonce()
  const handed = forLoginShell(nonce, framedScript(nonce, script, false))
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  const out = new FrameParser(nonce, (bytes) => stdout.push(bytes))
  const err = new FrameParser(nonce, (bytes) => stderr.push(bytes))
  return new Promise((resolve, reject) => {
    // An inaccessible folder on PATH would otherwise turn "not found" into "not allowed".
    const child = spawn(shell, ['-c', handed.words], { env: { PATH: '/usr/local/bin:/usr/bin:/bin' } })
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
    child.on('error', reject)
    child.stdin.on('error', () => {})
    child.stdin.end(handed.stdinLine + stdin)
    child.on('close', () =>
      resolve({
        stdout: Buffer.concat(stdout),
        stderr: Buffer.concat(stderr).toString(),
        status: out.status,
        noise: out.noise + err.noise,
      }),
    )
  })
}

/** A command that prints its arguments, each ended by a NUL. */
const printer = ['printf', '%s\\0']
const joined = (args: readonly string[]) => Buffer.from(args.map((arg) => `${arg}\0`).join(''))

const nasty = [
  '',
  ' ',
  "it's",
  '"',
  '\\',
  '\\\\n',
  '$(touch /tmp/hydra-ops-executed)',
  '`touch /tmp/hydra-ops-executed`',
  '; touch /tmp/hydra-ops-executed #',
  '$HOME ${HOME} $1 $$',
  '!! !x !$',
  '^a^b^',
  '* ? [a-z] {a,b} ~ ~root',
  'a\nb\n',
  '\n\n',
  '\t\r\v\x1b[31m\x7f',
  'é ☃ 𝄞 \u202e',
  '\u0080\ufffd\uffff',
  '-n',
  '--',
  '%s %b %n',
  '(a) <b> >c |d &',
  '#',
  '\\0101',
]

describe.each(shells)('login through %s', (shell) => {
  it('passes every awkward argument unchanged', async () => {
    const ran = await runBy(shell, argvScript([...printer, ...nasty]))
    expect(ran).toEqual({ stdout: joined(nasty), stderr: '', status: 0, noise: '' })
  })

  it('passes any arguments to the byte, and executes none of them', { timeout: 170_000 }, async () => {
    const text = fc.string({ unit: 'binary', maxLength: 40 }).map((each) => each.replaceAll('\0', '!'))
    const shellish = fc.string({ unit: fc.constantFrom(...`'"\\$\`!(){}[]<>|&;*?~#^%=@:,.-+ \n\tab0é`) })
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(text, shellish), { minLength: 1, maxLength: 8 }), async (args) => {
        const ran = await runBy(shell, argvScript([...printer, ...args]))
        expect(ran).toEqual({ stdout: joined(args), stderr: '', status: 0, noise: '' })
      }),
      { numRuns: 40 },
    )
  })

  it('gives a script its parameters and its input', async () => {
    const ran = await runBy(
      shell,
      parameterScript('printf "%s|" "$0" "$@"; cat', ["a'b", 'c d\n']),
      'in\nput',
    )
    expect(ran.stdout.toString()).toBe("sh|a'b|c d\n|in\nput")
  })

  it('passes a script of 300 KB too, with its input after it', async () => {
    const long = Array.from({ length: 300 }, (_, index) => `${index}é'`.padEnd(1_000, 'x'))
    const ran = await runBy(shell, parameterScript('cat; printf "%s\\0" "$@"', long), 'input\n')
    expect(ran.status).toBe(0)
    expect(ran.stdout.equals(Buffer.concat([Buffer.from('input\n'), joined(long)]))).toBe(true)
  })

  it('returns the status', async () => {
    expect((await runBy(shell, parameterScript('exit 42', []))).status).toBe(42)
    expect((await runBy(shell, argvScript(['no such program']))).status).toBe(127)
  })

  it('shows an error of sh without a trace of the transport', async () => {
    const { stderr } = await runBy(shell, argvScript(['no such program']))
    expect(stderr).toContain('no such program')
    expect(stderr.length).toBeLessThan(120)
  })
})
