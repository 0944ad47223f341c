import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createQuestions } from '../../src/ui/questions.js'
import { type FakeHydra, fakeHydra } from '../fakes/fake-hydra-users.js'
import { type CliRun, runCli } from './run-cli.js'

let hydra: FakeHydra
beforeEach(async () => {
  hydra = await fakeHydra({})
  const alice = {
    fullName: 'Alice Q. User',
    emailAddress: 'alice@example.org',
    roles: ['admin', 'restart-jobs'],
  }
  hydra.users.set('alice', { name: 'alice', ...alice, canLogin: true, password: 'earlier' })
})
afterEach(() => hydra.ops.cleanup())

const run = (...argv: string[]): Promise<CliRun> => runCli(argv, { ops: hydra.ops })

describe('the verb hydra', () => {
  it('shows the address of Hydra without a subcommand, as hydra url does, with -d before or after', async () => {
    const uuid = (await hydra.ops.store.resolve(undefined)).uuid
    for (const argv of [
      ['hydra'],
      ['hydra', 'url'],
      ['-d', uuid, 'hydra', 'url'],
      ['hydra', 'url', '-d', uuid],
    ])
      expect([argv, await run(...argv)]).toEqual([
        argv,
        { code: 0, stdout: 'http://127.0.0.1:8080\n', stderr: '' },
      ])
    expect(JSON.parse((await run('hydra', 'url', '--json')).stdout)).toEqual([
      { machine: 'ci', url: 'http://127.0.0.1:8080' },
    ])
    expect((await run('hydra', 'url', '-d', 'nowhere')).code).toBe(2)
  })

  it.each([
    [
      ['hydra', 'opne'],
      "error: hydra-ops hydra has no action 'opne'\nhint: did you mean: hydra-ops hydra open\n",
    ],
    [
      ['hydra', 'user', 'lsit'],
      "error: hydra-ops hydra user has no action 'lsit'\nhint: did you mean: hydra-ops hydra user list\n",
    ],
    [['hydra', 'user', 'xyzzy'], 'the actions are list, add, set-password, password'],
    [['hydra', 'url', 'alice'], "too many arguments for 'url'"],
    [['hydra', 'password'], "missing required argument 'user'"],
    [['hydra', 'user', 'add'], "missing required argument 'name'"],
    [['hydra', 'user', 'add', 'bob', '--rloe', 'admin'], 'did you mean --role?'],
    [['hydra', 'user', 'add', 'bob', '--generate', '--password-stdin'], 'choose one source of the password'],
  ])('suggests the intended word: %j', async (argv, sentence) => {
    const { code, stderr, stdout } = await run(...argv)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain(sentence)
  })

  it.each(['url', 'open', 'password', 'user'])('explains its subcommand %s with an example', async (part) => {
    const { code, stdout } = await run('hydra', part, '--help')
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`\\nExamples?:\\n {2}hydra-ops hydra ${part}`))
  })

  it.each(['list', 'add', 'set-password', 'password'])(
    'explains its subcommand user %s with an example',
    async (part) => {
      const { stdout } = await run('hydra', 'user', part, '--help')
      expect(stdout).toMatch(new RegExp(`\\nExamples?:\\n[^]*hydra-ops hydra user ${part}`))
      expect(stdout).toContain('--json')
    },
  )
})

describe('the verb hydra user', () => {
  it('shows the users by list as a table, as lines, as JSON', async () => {
    const table = await run('hydra', 'user', 'list')
    expect(table.code).toBe(0)
    expect(table.stdout).toMatch(
      /\| alice +\| Alice Q\. User +\| alice@example\.org +\| admin, restart-jobs +\| no /,
    )
    expect((await run('hydra', 'user', '--plain')).stdout).toBe(
      'alice\tAlice Q. User\talice@example.org\tadmin, restart-jobs\tno\t\n',
    )
    expect(JSON.parse((await run('hydra', 'user', 'list', '--json', '--machine', 'ci')).stdout)).toEqual([
      {
        ...{ machine: 'ci', name: 'alice', fullName: 'Alice Q. User', emailAddress: 'alice@example.org' },
        ...{ roles: ['admin', 'restart-jobs'], canLogin: true, named: false },
      },
    ])
  })

  it('reads the password for add from a pipe', async () => {
    const { signal } = hydra.ops
    const piped = async () => 'not reached'
    Object.assign(hydra.ops, { questions: { ...hydra.ops.questions, piped } })
    const { Readable } = await import('node:stream')
    const stdin = Object.assign(Readable.from(['from ', 'a pipe\n']), { isTTY: false })
    const questions = createQuestions({ interactive: false, stdin, signal, pause: async () => () => {} })
    Object.assign(hydra.ops, { questions })
    const added = await run(
      'hydra',
      'user',
      'add',
      'bob',
      '--password-stdin',
      '--role',
      'admin',
      '--role',
      'cancel-build',
    )
    expect(added).toMatchObject({ code: 0, stdout: '' })
    expect(added.stderr).toContain("created user 'bob' on machine 'ci'\n")
    expect(hydra.users.get('bob')).toMatchObject({
      password: 'from a pipe',
      roles: ['admin', 'cancel-build'],
    })
  })

  it('reports by add where to see a generated password, and shows the password then', async () => {
    const { stderr } = await run('hydra', 'user', 'add', 'bob', '--generate')
    expect(stderr).toContain(
      "created user 'bob' on machine 'ci'; hydra-ops hydra password bob shows the password\n",
    )
    const shown = await run('hydra', 'password', 'bob')
    expect(shown.stdout).toBe(`${hydra.users.get('bob')?.password}\n`)
    expect((await run('hydra', 'user', 'password', 'bob')).stdout).toBe(shown.stdout)
  })

  it('reads a file by set-password', async () => {
    const file = join(hydra.ops.folder, 'password')
    writeFileSync(file, 'new\n')
    const { code, stdout } = await run(
      'hydra',
      'user',
      'set-password',
      'alice',
      '--password-file',
      file,
      '--json',
    )
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ name: 'alice', roles: ['admin', 'restart-jobs'] })
    expect(hydra.users.get('alice')?.password).toBe('new')
  })

  it('exits with 4 when the machine does not answer, and with 5 when another process writes', async () => {
    const { store, hypervisor } = hydra.ops
    const { uuid } = await store.resolve(undefined)
    await store.lock(uuid, async () => {
      expect((await run('hydra', 'user', 'add', 'bob', '--generate')).code).toBe(5)
    })
    hypervisor.stop(`hydra-ops-${uuid}-ci`)
    expect((await run('hydra', 'user', 'add', 'bob', '--generate')).code).toBe(4)
  })
})
