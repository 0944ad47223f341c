import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MachineName } from '../../src/core/names.js'
import { generatedPassword } from '../../src/operations/hydra.js'
import {
  type AddUser,
  addHydraUser,
  listHydraUsers,
  setHydraPassword,
} from '../../src/operations/hydra-users.js'
import { type FakeHydra, fakeHydra } from '../fakes/fake-hydra-users.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { exit, succeed } from '../fakes/fake-ssh.js'

const admin = { userName: 'alice', fullName: 'Alice Q. User', password: { generate: true } }

let hydra: FakeHydra
beforeEach(async () => {
  hydra = await fakeHydra({ admin, users: { carol: { password: { file: '/carol' } } } })
  known('alice', ['admin'])
})
afterEach(() => hydra.ops.cleanup())

function known(name: string, roles: readonly string[] = [], canLogin = true): void {
  hydra.users.set(name, { name, fullName: '', emailAddress: '', roles, canLogin, password: 'earlier' })
}

const here = { deployment: undefined, machine: undefined }
const bob: AddUser = {
  ...here,
  name: 'bob',
  fullName: 'Bob "B" $R',
  emailAddress: 'bob@example.org',
  roles: ['restart-jobs', 'cancel-build'],
  password: { kind: 'stdin' },
}

const notices = () => hydra.ops.emitted.flatMap((event) => (event.kind === 'notice' ? [event.text] : []))

/** Returns all text that was written anywhere, except the made-up passwords themselves. */
async function writtenDown(): Promise<string> {
  const { store, files: state, folder, logged, emitted, ssh } = hydra.ops
  const root = state.paths((await store.resolve(undefined)).uuid).root
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .map((name) => join(root, name))
    .filter((file) => lstatSync(file).isFile() && !file.endsWith('.generated'))
  return [
    ...files.map((file) => readFileSync(file, 'utf8')),
    JSON.stringify([logged, emitted, ssh.execs.map(({ argv, script }) => [argv, script])]),
    folder,
  ].join('\n')
}

describe('the list of users', () => {
  it('shows which users the expression names, and which cannot log in', async () => {
    known('dave', [], false)
    expect(await listHydraUsers(hydra.ops, here)).toEqual([
      {
        ...{ machine: 'ci', name: 'alice', fullName: '', emailAddress: '' },
        ...{ roles: ['admin'], canLogin: true, named: true },
      },
      {
        ...{ machine: 'ci', name: 'dave', fullName: '', emailAddress: '' },
        ...{ roles: [], canLogin: false, named: false },
      },
    ])
    expect(notices()).toEqual([
      "the network expression names 'carol', which Hydra does not have yet; run hydra-ops deploy",
    ])
  })

  it('neither locks nor writes', async () => {
    const { store } = hydra.ops
    const { uuid } = await store.resolve(undefined)
    hydra.ops.emitted.length = 0
    const before = await writtenDown()
    await store.lock(uuid, async () => expect(await listHydraUsers(hydra.ops, here)).toHaveLength(1))
    hydra.ops.ssh.execs.length = 0
    hydra.ops.emitted.length = 0
    expect(await writtenDown()).toBe(before)
  })

  it('fails when the database does not answer, instead of being empty', async () => {
    hydra.ops.ssh.answer('look at the users of Hydra', succeed('unread=psql: error: no\n'))
    await expect(listHydraUsers(hydra.ops, here)).rejects.toMatchObject({
      exitCode: 1,
      message:
        "machine 'ci': cannot read the users of Hydra: the database hydra cannot be queried: psql: error: no",
    })
    hydra.ops.ssh.answer('look for PostgreSQL', {
      kind: 'exited',
      code: 0,
      stdout: 'cluster=15 main 5432 down postgres\n',
      stderr: '',
    })
    await expect(listHydraUsers(hydra.ops, here)).rejects.toThrow('PostgreSQL is not running')
  })

  it('ends with 4 when the machine does not answer', async () => {
    const name = `hydra-ops-${(await hydra.ops.store.resolve(undefined)).uuid}-ci`
    hydra.ops.hypervisor.stop(name)
    await expect(listHydraUsers(hydra.ops, here)).rejects.toMatchObject({ exitCode: 4 })
  })
})

describe('a new user', () => {
  it('is created by the deployed hydra-create-user, with the password on its standard input alone', async () => {
    hydra.typed.push('s3cret "x"\n')
    const row = await addHydraUser(hydra.ops, bob)
    expect(row).toMatchObject({
      machine: 'ci',
      name: 'bob',
      roles: ['restart-jobs', 'cancel-build'],
      named: false,
    })
    expect(hydra.calls).toEqual([
      {
        argv: [
          '/nix/store/00000000000000000000000000000000-hydra-deployed/bin/hydra-create-user',
          ...['bob', '--full-name', 'Bob "B" $R', '--email-address', 'bob@example.org', '--password-prompt'],
          ...['--wipe-roles', '--role', 'restart-jobs', '--role', 'cancel-build'],
        ],
        stdin: 's3cret "x"\ns3cret "x"\n',
      },
    ])
    expect(await writtenDown()).not.toContain('s3cret')
    expect(await hydra.history()).toEqual([
      { event: 'hydra.user-add', result: undefined },
      { event: 'hydra.user-add', result: 'done' },
    ])
  })

  it('is asked for its password twice', async () => {
    hydra.typed.push('one', 'one')
    await addHydraUser(hydra.ops, { ...bob, password: { kind: 'ask' } })
    expect(hydra.ops.asked).toEqual(["new password of Hydra's user 'bob':", 'repeat the new password:'])
    expect(hydra.users.get('bob')?.password).toBe('one')
  })

  it('is not created when the two passwords differ', async () => {
    hydra.typed.push('one', 'two')
    await expect(addHydraUser(hydra.ops, { ...bob, password: { kind: 'ask' } })).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('differ; nothing was changed'),
    })
    expect(hydra.calls).toEqual([])
    expect(await hydra.history()).toEqual([])
  })

  it('needs a terminal for a password: the flags are named, and no machine contacted', async () => {
    await expect(addHydraUser(hydra.ops, { ...bob, password: { kind: 'ask' } })).rejects.toMatchObject({
      exitCode: 2,
      message: "hydra-ops has no terminal to ask for the password of Hydra's user 'bob'",
      hint: 'give --password-file FILE, --password-stdin or --generate',
    })
    expect(hydra.ops.ssh.execs).toEqual([])
  })

  it('may have a password from a file, less its last newline', async () => {
    const path = join(hydra.ops.folder, 'password')
    writeFileSync(path, 'from a file\n')
    await addHydraUser(hydra.ops, { ...bob, password: { kind: 'file', path } })
    expect(hydra.users.get('bob')?.password).toBe('from a file')
  })

  it.each([
    ['is not there', undefined, 2, 'cannot be read from'],
    ['is empty', '\n', 1, 'it is empty'],
    ['has two lines', 'a\nb\n', 1, 'it has more than one line'],
  ])('is refused before any contact when that file %s', async (_, text, exitCode, sentence) => {
    const path = join(hydra.ops.folder, 'password')
    if (text !== undefined) writeFileSync(path, text)
    await expect(addHydraUser(hydra.ops, { ...bob, password: { kind: 'file', path } })).rejects.toMatchObject(
      {
        exitCode,
        message: expect.stringContaining(sentence),
      },
    )
    expect(hydra.ops.ssh.execs).toEqual([])
  })

  it('may have a generated password, kept for its owner alone, and shown on request', async () => {
    await addHydraUser(hydra.ops, { ...bob, password: { kind: 'generate' } })
    const password = await generatedPassword(hydra.ops, undefined, 'bob')
    expect(password).toMatch(/^[\w-]{24}$/)
    expect(hydra.users.get('bob')?.password).toBe(password)
    const { place } = hydra.ops.secrets.of((await hydra.ops.store.resolve(undefined)).uuid)
    expect(lstatSync(join(place, 'ci.hydra-user-bob.generated')).mode & 0o777).toBe(0o600)
    expect(await writtenDown()).not.toContain(password)
  })

  it('leaves no generated password behind when it could not be created', async () => {
    hydra.ops.ssh.answer("make Hydra's user 'bob'", exit(255, 'DBI Connection failed'))
    await expect(addHydraUser(hydra.ops, { ...bob, password: { kind: 'generate' } })).rejects.toMatchObject({
      exitCode: 1,
      detail: 'DBI Connection failed',
    })
    await expect(generatedPassword(hydra.ops, undefined, 'bob')).rejects.toThrow('generated no password')
    expect((await hydra.history()).at(-1)).toMatchObject({
      event: 'hydra.user-add',
      result: expect.stringContaining("make Hydra's user 'bob'"),
    })
  })

  it('counts as created only when it exists afterwards', async () => {
    hydra.ops.ssh.answer("make Hydra's user 'bob'", exit(0))
    hydra.typed.push('x')
    await expect(addHydraUser(hydra.ops, bob)).rejects.toMatchObject({
      code: 'HYDRA_USER',
      message: "machine 'ci': Hydra has no user 'bob' who can log in",
      hint: 'hydra-create-user reported no error; hydra-ops logs shows its output',
    })
  })

  it('is refused when a user of that name exists, or when the expression names it', async () => {
    known('bob')
    hydra.typed.push('x', 'x')
    await expect(addHydraUser(hydra.ops, bob)).rejects.toMatchObject({
      exitCode: 2,
      message: "Hydra already has a user 'bob'",
      hint: 'hydra-ops hydra user set-password bob changes the password',
    })
    await expect(addHydraUser(hydra.ops, { ...bob, name: 'carol' })).rejects.toMatchObject({
      exitCode: 2,
      message: "the network expression names user 'carol'",
      hint: 'change this user in the network expression, then run hydra-ops deploy',
    })
    expect(hydra.calls).toEqual([])
  })

  it.each([
    [{ roles: ['admni'] }, "no role 'admni'", "did you mean 'admin'?"],
    [{ roles: ['xyzzy'] }, "no role 'xyzzy'", /^the roles are: admin, create-projects/],
    [{ name: 'al ice' }, '"al ice" is not valid as the name of a user', undefined],
    [{ name: '-x' }, '"-x" is not valid as the name of a user', undefined],
    [{ fullName: 'a\nb' }, 'is not valid as a full name', undefined],
    [{ emailAddress: 'nowhere' }, 'is not valid as the mail address of a user', undefined],
  ])('is refused with %j, before its password is asked for', async (part, sentence, hint) => {
    const refusal = await addHydraUser(hydra.ops, { ...bob, ...part }).catch((error: unknown) => error)
    expect(refusal).toMatchObject({ exitCode: 2, message: expect.stringContaining(sentence) })
    if (hint !== undefined) expect(refusal).toMatchObject({ hint: expect.stringMatching(hint) })
    expect([hydra.ops.asked, hydra.ops.ssh.execs]).toEqual([[], []])
  })

  it('is created without waiting for the holder of the lock', async () => {
    const { store } = hydra.ops
    hydra.typed.push('x')
    await store.lock((await store.resolve(undefined)).uuid, async () => {
      await expect(addHydraUser(hydra.ops, bob)).rejects.toMatchObject({ exitCode: 5 })
    })
  })

  it('is not created on a machine of another deployment', async () => {
    const folder = join(hydra.ops.folder, 'machines')
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'ci.owner'), '11111111-1111-4111-8111-111111111111')
    hydra.typed.push('x')
    await expect(addHydraUser(hydra.ops, bob)).rejects.toThrow('belongs to another deployment')
    expect(hydra.calls).toEqual([])
  })
})

describe('a changed password', () => {
  const dave = { ...here, name: 'dave', password: { kind: 'stdin' } as const }

  it('is the only change to a user', async () => {
    known('dave', ['admin', 'a-role-of-old'])
    hydra.typed.push('new')
    expect(await setHydraPassword(hydra.ops, dave)).toMatchObject({ roles: ['admin', 'a-role-of-old'] })
    expect(hydra.calls[0]?.argv.slice(1)).toEqual(['dave', '--password-prompt'])
    expect(hydra.users.get('dave')?.password).toBe('new')
    expect(notices()).toEqual([])
  })

  it('replaces a generated password, which is forgotten', async () => {
    await addHydraUser(hydra.ops, { ...bob, password: { kind: 'generate' } })
    hydra.typed.push('new')
    await setHydraPassword(hydra.ops, { ...here, name: 'bob', password: { kind: 'stdin' } })
    await expect(generatedPassword(hydra.ops, undefined, 'bob')).rejects.toThrow('generated no password')
  })

  it('leaves the generated password as it was when it could not be set', async () => {
    await addHydraUser(hydra.ops, { ...bob, password: { kind: 'generate' } })
    const before = await generatedPassword(hydra.ops, undefined, 'bob')
    hydra.ops.ssh.answer("change Hydra's user 'bob'", exit(255, 'no'))
    await expect(
      setHydraPassword(hydra.ops, { ...here, name: 'bob', password: { kind: 'generate' } }),
    ).rejects.toMatchObject({ exitCode: 1 })
    expect(await generatedPassword(hydra.ops, undefined, 'bob')).toBe(before)
  })

  it('is kept when it may have been set before the connection was lost', async () => {
    hydra.ops.ssh.answer("make Hydra's user 'bob'", { kind: 'lost', stdout: '', stderr: '' })
    await expect(addHydraUser(hydra.ops, { ...bob, password: { kind: 'generate' } })).rejects.toMatchObject({
      code: 'CONNECTION_LOST',
    })
    expect(await generatedPassword(hydra.ops, undefined, 'bob')).toMatch(/^[\w-]{24}$/)
  })

  it('comes for a user of the expression with a notice of what overrules it', async () => {
    known('carol')
    hydra.typed.push('new', 'new')
    await setHydraPassword(hydra.ops, { ...here, name: 'carol', password: { kind: 'stdin' } })
    await setHydraPassword(hydra.ops, { ...here, name: 'alice', password: { kind: 'stdin' } })
    expect(notices()).toEqual([
      expect.stringMatching(/names user 'carol' and gives password\.file: .* replaces the new password/),
      expect.stringMatching(
        /names user 'alice' and gives password\.generate, which hydra-ops hydra password alice still shows/,
      ),
    ])
  })

  it('is stored as that of the expression when both are to be generated', async () => {
    await setHydraPassword(hydra.ops, { ...here, name: 'alice', password: { kind: 'generate' } })
    expect(hydra.users.get('alice')?.password).toBe(await generatedPassword(hydra.ops, undefined, 'alice'))
    expect(notices()).toEqual([])
  })

  it('needs a user, and suggests the intended one', async () => {
    hydra.typed.push('x', 'x')
    await expect(setHydraPassword(hydra.ops, { ...dave, name: 'alcie' })).rejects.toMatchObject({
      exitCode: 2,
      message: "Hydra has no user 'alcie'",
      hint: "did you mean 'alice'?",
    })
    await expect(setHydraPassword(hydra.ops, { ...dave, name: 'nobody' })).rejects.toMatchObject({
      hint: 'hydra-ops hydra user add nobody creates the user',
    })
  })
})

describe('a deployment with several Hydras', () => {
  beforeEach(async () => {
    hydra.ops.cleanup()
    hydra = await fakeHydra({}, ['east', 'west'])
  })

  it('needs the name of the intended machine', async () => {
    await expect(listHydraUsers(hydra.ops, here)).rejects.toMatchObject({
      exitCode: 2,
      message: 'there is more than one Hydra',
      hint: 'select one with --machine NAME (east, west)',
    })
    expect(await listHydraUsers(hydra.ops, { ...here, machine: 'west' })).toEqual([])
    expect(hydra.ops.ssh.connects.at(-1)).toBe('west')
  })

  it('refuses a machine without a Hydra, with the intended one', async () => {
    await expect(listHydraUsers(hydra.ops, { ...here, machine: 'wset' })).rejects.toMatchObject({
      exitCode: 2,
      message: "there is no machine 'wset'",
      hint: "did you mean 'west'?",
    })
    await expect(listHydraUsers(hydra.ops, { ...here, machine: 'builder' })).rejects.toMatchObject({
      exitCode: 2,
      hint: 'these machines have a Hydra: east, west',
    })
  })
})

it('the error without a deployed Hydra says so', async () => {
  const { store } = hydra.ops
  await store.lock((await store.resolve(undefined)).uuid, async (held) => {
    for (const machine of Object.keys(held.record.machines))
      await held.updateMachine(MachineName.parse(machine), (draft) => {
        draft.tasks = {}
      })
  })
  await expect(listHydraUsers(hydra.ops, here)).rejects.toMatchObject({
    code: 'NO_HYDRA',
    exitCode: 1,
    message: expect.stringMatching(/^deployment '.*' has no Hydra yet$/),
    hint: 'set deployment.hydra.enable = true, then run hydra-ops deploy',
  })
  await expect(listHydraUsers(hydra.ops, { ...here, machine: 'ci' })).rejects.toMatchObject({
    message: "machine 'ci' has no Hydra yet",
    hint: 'these machines have a Hydra: none yet',
  })
})

it('the error of a machine whose definition has lost its Hydra says so', async () => {
  hydra.ops.nix.network = fakeNetwork([fakeMachine('ci')])
  await expect(listHydraUsers(hydra.ops, here)).rejects.toMatchObject({
    code: 'NO_HYDRA',
    message: "machine 'ci' no longer has a Hydra in its definition",
    hint: 'deployment.hydra.enable is false in the network expression',
  })
})
