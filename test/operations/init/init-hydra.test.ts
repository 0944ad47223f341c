import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { failure } from '../../../src/core/errors.js'
import { DeploymentName } from '../../../src/core/names.js'
import type { CommandResult } from '../../../src/core/ssh.js'
import type { HydraFlags } from '../../../src/operations/init/hydra-answers.js'
import { initHydra } from '../../../src/operations/init/init-hydra.js'
import { createFakeOps, type FakeOps } from '../../fakes/fake-ops.js'

let ops: FakeOps
let folder: string
/** The answers of Nix. The default is a host without nixpkgs, on which every text is a valid expression. */
let nix: (argv: readonly string[]) => CommandResult

const ended = (code: number, stderr = ''): CommandResult => ({ kind: 'exited', code, stdout: '', stderr })

beforeEach(async () => {
  ops = await createFakeOps()
  folder = join(ops.folder, 'here')
  mkdirSync(folder)
  nix = (argv) => ended(argv.includes('--parse') ? 0 : 1)
  Object.assign(ops.local, { run: async (argv: readonly string[]) => nix(argv) })
})
afterEach(() => ops.cleanup())

const init = (flags: HydraFlags, file = './hydra.nix', state?: string) =>
  initHydra(ops, { file, folder, state, flags })
const text = (file = 'hydra.nix') => readFileSync(join(folder, file), 'utf8')

/** Simulates a person who gives the test's answers, or accepts the suggestions. */
function person(answers: Readonly<Record<string, string>>): string[] {
  const asked: string[] = []
  const answerTo = (question: string) => {
    asked.push(question)
    return Object.entries(answers).find(([begin]) => question.startsWith(begin))?.[1]
  }
  Object.assign(ops, {
    questions: {
      ...ops.questions,
      interactive: true,
      text: async (
        question: string,
        { suggestion, wrong }: { suggestion: string; wrong(answer: string): string | undefined },
      ) => {
        const answer = answerTo(question) ?? suggestion
        expect([question, wrong(answer)]).toEqual([question, undefined])
        return answer
      },
      choose: async (question: string, choices: readonly { value: string }[]) =>
        answerTo(question) ?? choices[0]?.value,
    },
  })
  return asked
}

describe('init hydra with flags', () => {
  it('writes a guest of this host with its first user, and the next two commands', async () => {
    const written = await init({ admin: 'alice' })
    expect(written).toEqual({
      file: join(folder, 'hydra.nix'),
      deployment: 'hydra',
      next: ['hydra-ops create ./hydra.nix -d hydra', 'hydra-ops deploy -d hydra'],
    })
    for (const line of [
      'targetEnv = "libvirtd";',
      'host = 8080;',
      'hostName = "hydra.localhost";',
      'userName = "alice";',
      'password.generate = true;',
      '#   hydra-ops create ./hydra.nix -d hydra',
      '# package = pkgs.hydra;',
      '# network.nixpkgs = <nixpkgs>;',
    ])
      expect(text()).toContain(line)
    expect(text()).not.toMatch(/ +$/m)
  })

  it('writes an existing host', async () => {
    await init({
      ...{ provider: 'none', targetHost: 'ci.example.org', hostName: 'hydra.example.org', admin: 'alice' },
      ...{ fullName: 'Alice "Q" ${User}', email: 'alice@example.org', password: 'prompt' },
    })
    for (const line of [
      'targetEnv = "none";',
      'targetHost = "ci.example.org";',
      'hostName = "hydra.example.org";',
      'fullName = "Alice \\"Q\\" \\${User}";',
      'emailAddress = "alice@example.org";',
      'password.prompt = true;',
    ])
      expect(text()).toContain(line)
    expect(text()).not.toContain('forwardPorts')
  })

  it('asks nothing more when all values without a default are given, also on a terminal', async () => {
    const asked = person({})
    await init({ admin: 'alice' })
    expect(asked).toEqual([])
  })

  it('chooses a free deployment name after the file, and keeps the folder of the state', async () => {
    await ops.store.create({ name: undefined, expressions: [], searchPath: [], args: {} })
    const create = (name: string) => init({ admin: 'alice' }, name, './my state')
    expect((await create('./build farm.nix')).next).toEqual([
      "hydra-ops create './build farm.nix' -d hydra --state './my state'",
      "hydra-ops deploy -d hydra --state './my state'",
    ])
    const name = DeploymentName.parse('ci-2')
    await ops.store.create({ name, expressions: [], searchPath: [], args: {} })
    expect((await create('./ci-2.nix')).deployment).toBe('ci-2-2')
    expect((await create('-x.nix')).next[0]).toContain('create ./-x.nix -d hydra')
  })

  it.each([
    [
      { hostName: 'hydra_ci' },
      '--host-name: expected a host name: letters, digits, "-" and ".", got "hydra_ci"',
    ],
    [{ hostName: '' }, '--host-name: expected a host name'],
    [{ hostName: `${'a.'.repeat(130)}org` }, '--host-name: expected at most 253 characters'],
    [{ admin: 'al ice' }, '--admin: expected a user name'],
    [{ email: 'nowhere' }, '--email: expected a mail address'],
    [{ fullName: 'a\nb' }, '--full-name: expected text on one line'],
    [{ httpPort: '0' }, '--http-port: expected a port'],
    [{ httpPort: '65536' }, '--http-port: expected a port'],
    [{ httpPort: '80.5' }, '--http-port: expected a port'],
    [{ targetHost: 'ci.example.org' }, '--target-host is valid only with --provider none'],
    [
      { provider: 'none', targetHost: 'h', hostName: 'h', httpPort: '80' },
      '--http-port is valid only with --provider libvirtd',
    ],
    [
      { provider: 'none', targetHost: '-oProxyCommand=x', hostName: 'h' },
      '--target-host: expected an address',
    ],
    [{ provider: 'none', targetHost: '', hostName: 'h' }, '--target-host: expected some text'],
    [{ password: 'file:/does/not/exist' }, 'the file /does/not/exist does not exist'],
    [{ password: 'file:.' }, '--password: the file '],
  ] as const)('refuses the mistakes that deploy would refuse: %j', async (flags, sentence) => {
    await expect(init({ admin: 'alice', ...flags })).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining(sentence),
    })
    expect(readdirSync(folder)).toEqual([])
  })

  it('shows no password that was written in place of its source', async () => {
    const refusal = await init({ admin: 'alice', password: 'hunter2' }).catch((error: unknown) => error)
    expect(refusal).toMatchObject({ exitCode: 2, message: expect.stringContaining('file:PATH') })
    expect(String(refusal)).not.toContain('hunter2')
  })

  it('takes the path of a password relative to the current folder, and never the password', async () => {
    writeFileSync(join(folder, 'my "pass"'), 'hunter2\n')
    mkdirSync(join(folder, 'sub'))
    await init({ admin: 'alice', password: 'file:my "pass"' }, 'sub/hydra.nix')
    expect(text('sub/hydra.nix')).toContain(`password.file = "${folder}/my \\"pass\\"";`)
    expect(text('sub/hydra.nix')).not.toContain('hunter2')
  })
})

describe('the package of init hydra', () => {
  it('comes from nixpkgs when this host has one', async () => {
    nix = () => ended(0)
    await init({ admin: 'alice' })
    expect(text()).toMatch(/^ {2}network\.nixpkgs = <nixpkgs>;$/m)
  })

  it('is left out when Nix is not even installed', async () => {
    nix = () => {
      throw failure('PROGRAM_MISSING', "the program 'nix-instantiate' is not installed")
    }
    await init({ admin: 'alice' })
    expect(text()).toMatch(/^ {2}# network\.nixpkgs = <nixpkgs>;$/m)
    expect(ops.emitted).toEqual([
      { kind: 'notice', text: expect.stringContaining('set deployment.hydra.package in ./hydra.nix') },
    ])
  })

  it('may be a store path, which needs no Nix', async () => {
    const path = '/nix/store/00000000000000000000000000000000-hydra-1'
    nix = (argv) => {
      expect(argv).toContain('--find-file')
      return ended(1)
    }
    await init({ admin: 'alice', package: path })
    expect(text()).toContain(`package = "${path}";`)
    expect(text()).not.toContain('network.nixpkgs')
  })

  it('may be an expression, which may use nixpkgs', async () => {
    await init({ admin: 'alice', package: '(import ./packages { }).hydra' })
    expect(text()).toContain('package = (import ./packages { }).hydra;')
    expect(ops.emitted).toEqual([])
    expect(text()).not.toContain('network.nixpkgs')
    await init({ admin: 'alice', package: 'pkgs.hydra_unstable # the newest' }, 'other.nix')
    expect(text('other.nix')).toContain('package = (\npkgs.hydra_unstable # the newest\n          );')
    expect(text('other.nix')).toMatch(/^ {2}network\.nixpkgs = <nixpkgs>;$/m)
  })

  it('is refused in the words of Nix when it is not an expression', async () => {
    nix = (argv) =>
      ended(1, argv.includes('--parse') ? "warning: x\nerror: syntax error, unexpected ';'\n" : '')
    await expect(init({ admin: 'alice', package: 'a; b = 1' })).rejects.toMatchObject({
      exitCode: 2,
      message: "--package: the text is not a valid Nix expression: syntax error, unexpected ';'",
    })
  })
})

describe('init hydra with a person', () => {
  it('asks for all values that the flags leave open, with suggestions', async () => {
    const asked = person({ 'Where should': 'libvirtd' })
    await init({ fullName: 'Alice' })
    expect(asked.map((question) => question.replace(/[:(].*$/, '').trim())).toEqual([
      'Where should Hydra run?',
      'Port of this host for its web interface',
      'Host name of Hydra',
      'Name of the first user, who has all rights',
      'Mail address of that user',
      'Password of that user',
      'Package of Hydra, as a Nix expression or a store path',
    ])
    // The suggested user name is the name of the tests' operator.
    expect(text()).toContain('userName = "tester";')
  })

  it('asks for the address of an existing host, which is suggested as its name', async () => {
    person({ 'Where should': 'none', 'Address of the host': 'ci.example.org', 'Password of': 'prompt' })
    await init({})
    expect(text()).toContain('targetHost = "ci.example.org";')
    expect(text()).toContain('hostName = "ci.example.org";')
    expect(text()).toContain('password.prompt = true;')
  })

  it('asks nothing when there is a file already', async () => {
    const asked = person({})
    writeFileSync(join(folder, 'hydra.nix'), 'mine')
    await expect(init({})).rejects.toMatchObject({ exitCode: 2 })
    expect(asked).toEqual([])
  })
})

describe('init hydra without a person', () => {
  it.each([
    [{}, 'these flags are missing: --admin NAME'],
    [{ provider: 'none' }, 'these flags are missing: --target-host HOST, --host-name NAME, --admin NAME'],
    [{ provider: 'none', admin: 'alice', targetHost: 'h' }, 'these flags are missing: --host-name NAME'],
  ] as const)('names the missing flags: %j', async (flags, message) => {
    await expect(init(flags)).rejects.toMatchObject({ exitCode: 2, message })
    expect(readdirSync(folder)).toEqual([])
  })
})

describe('the file of init hydra', () => {
  it.each([
    [
      'a file',
      () => writeFileSync(join(folder, 'hydra.nix'), 'mine'),
      'already exists; it was not overwritten',
    ],
    [
      'a link that leads nowhere',
      () => symlinkSync('nowhere', join(folder, 'hydra.nix')),
      'already exists; it was not',
    ],
    ['a folder', () => mkdirSync(join(folder, 'hydra.nix')), 'is a folder'],
  ])('is not written when %s exists', async (_, put, sentence) => {
    put()
    const before = readdirSync(folder)
    await expect(init({ admin: 'alice' })).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining(sentence),
      hint: expect.stringMatching(/\S/),
    })
    expect(readdirSync(folder)).toEqual(before)
  })

  it('is left to another process that wrote it first', async () => {
    nix = () => {
      writeFileSync(join(folder, 'hydra.nix'), 'quicker')
      return ended(1)
    }
    await expect(init({ admin: 'alice' })).rejects.toMatchObject({ exitCode: 2 })
    expect(text()).toBe('quicker')
    expect(readdirSync(folder)).toEqual(['hydra.nix'])
  })

  it('needs a folder', async () => {
    await expect(init({ admin: 'alice' }, 'no/such/hydra.nix')).rejects.toMatchObject({
      exitCode: 2,
      hint: expect.stringContaining('mkdir -p'),
    })
    expect(existsSync(join(folder, 'no'))).toBe(false)
  })
})
