import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ended, type RealCli, realCli } from './real-cli.js'

let cli: RealCli

beforeAll(() => {
  cli = realCli()
})
afterAll(() => cli.cleanup())

const logImports = join(import.meta.dirname, '..', 'fixtures', 'cli', 'log-imports.mjs')

/** Lists the modules of packages and of hydra-ops that a command line loads. */
async function loadedBy(...argv: string[]): Promise<string[]> {
  const file = join(cli.folder, `loaded-${argv.join('_').replaceAll('/', '_')}`)
  const result = await cli.run(argv, { before: [logImports], env: { LOADED_MODULES: file } })
  expect(result).toMatchObject({ code: 0 })
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((url) => url.startsWith('file:'))
}

describe('hydra-ops --version', () => {
  it('is answered before anything is imported', async () => {
    const loaded = await loadedBy('--version')
    expect(loaded.filter((url) => !url.endsWith('/src/cli.ts'))).toEqual([])
  })

  it('is the version of the package', async () => {
    const { version } = JSON.parse(
      readFileSync(join(import.meta.dirname, '..', '..', 'package.json'), 'utf8'),
    )
    expect(await cli.run(['--version'])).toEqual({
      code: 0,
      signal: null,
      stdout: `${version}\n`,
      stderr: '',
    })
  })
})

describe('a command that only reads the state', () => {
  const costly = /node_modules\/(?:execa|ssh2|listr2|@inquirer)\//

  it('imports neither execa nor ssh2 nor listr2', async () => {
    await cli.run(['create', cli.network, '-d', 'lab', '--or-modify'])
    for (const argv of [
      ['list'],
      ['history'],
      ['info', '--no-eval', '--no-probe'],
      ['config', 'list'],
      ['set-args', '--arg', 'x', '1'],
    ]) {
      const loaded = await loadedBy(...argv)
      // The hook must see packages; otherwise this test could not fail.
      expect(loaded.some((url) => /node_modules\/commander\//.test(url))).toBe(true)
      expect([argv[0], loaded.filter((url) => costly.test(url))]).toEqual([argv[0], []])
    }
  })
})

describe('bad input', () => {
  it.each([
    [[], 2, 'the verb is missing'],
    [['apply'], 2, 'did you mean: hydra-ops deploy'],
    [['deploy', '--yse'], 2, 'did you mean --yes?'],
    [['info', '-d', 'nowhere'], 2, 'nowhere'],
    [['create', '/does/not/exist.nix'], 2, "the network expression '/does/not/exist.nix' does not exist"],
    [['check', '--bad'], 64, "unknown option '--bad'"],
    [['ssh'], 2, "missing required argument 'machine'"],
  ])('is one sentence and never a stack: %j', async (argv, code, sentence) => {
    const result = await cli.run(argv)
    expect(result).toMatchObject({ code, stdout: '' })
    expect(result.stderr).toContain(sentence)
    expect(result.stderr).not.toMatch(/^\s+at /m)
  })

  it('creates no state', async () => {
    const state = join(cli.folder, 'untouched')
    await cli.run(['info', '-d', 'nowhere', '--state', state])
    await cli.run(['list', '--state', state])
    await cli.run(['plan', '--state', state])
    expect(existsSync(state)).toBe(false)
  })
})

describe('standard output', () => {
  it('may close early: the work is still done, without a complaint', async () => {
    const child = cli.start(['create', cli.network, '-d', 'piped'])
    child.stdout.destroy()
    const result = await ended(child)
    expect(result).toMatchObject({ code: 0, signal: null, stderr: "created deployment 'piped'\n" })
    expect((await cli.run(['info', '-d', 'piped', '--no-eval', '--no-probe'])).code).toBe(0)
  })
})

describe('a broken provider plugin', () => {
  it('is named, and can be taken out again', async () => {
    const state = join(cli.folder, 'with-plugin')
    const flags = ['--state', state]
    expect((await cli.run(['create', cli.network, ...flags])).code).toBe(0)
    expect((await cli.run(['config', 'set', 'plugins', 'no-such-provider', ...flags])).code).toBe(0)
    const broken = await cli.run(['list', ...flags])
    expect(broken).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("provider plugin 'no-such-provider': there is no such package in "),
    })
    expect((await cli.run(['config', 'get', 'plugins', ...flags])).stdout).toBe('no-such-provider\n')
    expect((await cli.run(['config', 'unset', 'plugins', ...flags])).code).toBe(0)
    expect((await cli.run(['list', ...flags])).code).toBe(0)
  })
})

it('a crash test kills the process after the n-th write of the state', async () => {
  const state = join(cli.folder, 'killed')
  const env = { HYDRA_OPS_TEST_STOP_AFTER_WRITE: '1' }
  const argv = ['create', cli.network, '-d', 'killed', '--state', state]
  expect(await cli.run(argv, { env })).toMatchObject({ code: null, signal: 'SIGKILL', stdout: '' })
  expect((await cli.run(['list', '--plain', '--state', state])).stdout).toMatch(/\tkilled\t/)
})

describe('a deploy that was killed with SIGKILL', () => {
  it('leaves a program, for which the next command waits with a notice', async () => {
    const folder = mkdtempSync(join(cli.folder, 'slow-'))
    const place = (name: string) => join(folder, name)
    const script = `#!/bin/sh
echo $$ >'${place('draft')}' && mv '${place('draft')}' '${place('pid')}'
while [ ! -e '${place('go')}' ] && [ -e '${folder}' ]; do sleep 0.1; done
touch '${place('ended')}'
`
    for (const name of ['nix-instantiate', 'nix-store']) writeFileSync(place(name), script, { mode: 0o755 })
    const state = ['--state', place('state')]
    expect((await cli.run(['create', cli.network, '-d', 'lab', ...state])).code).toBe(0)
    const env = { PATH: `${folder}:${process.env.PATH}` }
    const deploy = cli.start(['deploy', '-d', 'lab', '--yes', ...state], { env })
    const killed = ended(deploy)
    await expect.poll(() => existsSync(place('pid')), { timeout: 150_000 }).toBe(true)
    deploy.kill('SIGKILL')
    expect(await killed).toMatchObject({ signal: 'SIGKILL' })

    const next = cli.start(['modify', '-d', 'lab', '--name', 'other', ...state])
    let seen = ''
    next.stderr.on('data', (chunk: string) => {
      seen += chunk
      if (seen.includes('which a killed command started: hydra-ops deploy')) writeFileSync(place('go'), '')
    })
    expect(await ended(next)).toMatchObject({ code: 0 })
    const pid = readFileSync(place('pid'), 'utf8').trim()
    expect(seen).toMatch(new RegExp(`waiting for nix-(?:instantiate|store) \\(pid ${pid}\\)`))
    expect(existsSync(place('ended'))).toBe(true)
  })
})

describe('a signal', () => {
  /** Creates stand-ins for Nix that do not end by themselves. */
  function slowPrograms(first = ':'): { PATH: string } {
    const folder = mkdtempSync(join(cli.folder, 'bin-'))
    const script = `#!/bin/sh\n${first}\necho $$ >'${marker()}'\nexec sleep 600\n`
    for (const name of ['nix-instantiate', 'nix-store'])
      writeFileSync(join(folder, name), script, { mode: 0o755 })
    return { PATH: `${folder}:${process.env.PATH}` }
  }
  const marker = () => join(cli.folder, 'started')
  beforeAll(() => cli.run(['create', cli.network, '-d', 'lab', '--or-modify']))
  /** Returns the process id of the program, once the program runs. */
  const started = async (): Promise<number> => {
    const pid = () => (existsSync(marker()) ? Number(readFileSync(marker(), 'utf8')) : 0)
    await expect.poll(pid, { timeout: 60_000 }).toBeGreaterThan(0)
    const found = pid()
    rmSync(marker())
    return found
  }
  /** Tells whether a process is gone; a zombie that its new parent has not reaped yet counts as gone. */
  const isGone = (pid: number) => {
    try {
      return / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    } catch {
      return true
    }
  }

  it.each(['SIGINT', 'SIGTERM'] as const)('cancels as %s, says so, and ends with 130', async (signal) => {
    const child = cli.start(['plan', '-d', 'lab'], { env: slowPrograms() })
    const result = ended(child)
    const program = await started()
    child.kill(signal)
    expect(await result).toMatchObject({ code: 130, stderr: expect.stringContaining('interrupted') })
    await expect.poll(() => isGone(program), { timeout: 30_000 }).toBe(true)
  })

  it('ends the process at once when it is the second, even while a program refuses to end', async () => {
    const child = cli.start(['plan', '-d', 'lab'], { env: slowPrograms("trap '' TERM") })
    const result = ended(child)
    const program = await started()
    let seen = ''
    child.stderr.on('data', (chunk: string) => {
      seen += chunk
    })
    child.kill('SIGINT')
    await expect.poll(() => seen, { timeout: 60_000, interval: 10 }).toContain('second Ctrl-C')
    child.kill('SIGINT')
    const { code, stderr } = await result
    // The command ended without reporting an error.
    expect([code, stderr.includes('error:')]).toEqual([130, false])
    await expect.poll(() => isGone(program), { timeout: 30_000 }).toBe(true)
  })
})
