import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DeploymentName, MachineName } from '../../src/core/names.js'
import { absoluteEntry, type CreateRequest, createDeployment } from '../../src/operations/create.js'
import { deleteDeployment } from '../../src/operations/delete.js'
import { labElsewhere, listDeployments } from '../../src/operations/list.js'
import { modifyDeployment } from '../../src/operations/modify.js'
import { getPreference, listPreferences, setPreference } from '../../src/operations/preferences.js'
import { setArguments } from '../../src/operations/set-args.js'
import { unlockDeployment } from '../../src/operations/unlock.js'
import { createFakeOps, type FakeOps } from '../fakes/fake-ops.js'

let ops: FakeOps
let folder: string

beforeEach(async () => {
  ops = await createFakeOps()
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-expressions-'))
  for (const name of ['net.nix', 'libvirt.nix']) writeFileSync(join(folder, name), '{ }')
})
afterEach(() => {
  ops.cleanup()
  rmSync(folder, { recursive: true, force: true })
})

const create = (request: Partial<CreateRequest> = {}) =>
  createDeployment(ops, {
    files: ['net.nix'],
    folder,
    name: 'lab',
    searchPath: [],
    args: {},
    orModify: false,
    ...request,
  })

const nothing = { deployment: 'lab', name: undefined, files: [], folder: '', searchPath: [], args: {} }

describe('an evaluation from git', () => {
  it('is remembered by create and modify, and taken back', async () => {
    mkdirSync(join(folder, '.git'))
    expect((await create({ fromGit: true })).deployment).toMatchObject({ fromGit: true })
    expect(await ops.store.resolve('lab')).toMatchObject({ fromGit: true })
    await modifyDeployment(ops, { ...nothing, fromGit: false })
    expect((await ops.store.resolve('lab')).fromGit).toBe(false)
    await modifyDeployment(ops, { ...nothing, fromGit: true })
    await modifyDeployment(ops, { ...nothing, name: 'lab2' })
    expect((await ops.store.resolve('lab2')).fromGit).toBe(true)
  })

  it('is refused outside of a repository, and nothing is remembered', async () => {
    const refusal = /^the network expression .*net\.nix is not in a git repository$/
    await expect(create({ fromGit: true })).rejects.toThrow(refusal)
    expect(await ops.store.list()).toEqual([])
    await create()
    await expect(modifyDeployment(ops, { ...nothing, fromGit: true })).rejects.toThrow(refusal)
    expect((await ops.store.resolve('lab')).fromGit).toBeUndefined()
  })

  it('refuses other files that do not lie in a repository', async () => {
    mkdirSync(join(folder, 'inside', '.git'), { recursive: true })
    writeFileSync(join(folder, 'inside', 'net.nix'), '{ }')
    await create({ files: ['inside/net.nix'], fromGit: true })
    await expect(modifyDeployment(ops, { ...nothing, folder, files: ['net.nix'] })).rejects.toThrow(
      'is not in a git repository',
    )
  })
})

/** Creates the state that a deploy of one machine leaves. */
async function withMachine(handle: boolean): Promise<void> {
  const { deployment } = await create()
  await ops.store.lock(deployment.uuid, async (held) =>
    held.putMachine(MachineName.parse('web'), {
      provider: 'fake',
      os: 'debian',
      index: 1,
      allocation: { sshPort: 1, ports: [], address: '192.0.2.1' },
      obsolete: false,
      tasks: {},
      keys: {},
      facts: {},
      ...(handle ? { handle: { disk: 'd', image: 'i' } } : {}),
    }),
  )
}

describe('create', () => {
  it('remembers absolute paths, arguments and the search path', async () => {
    const { deployment, created } = await create({
      files: ['net.nix', join(folder, 'libvirt.nix')],
      searchPath: ['nixpkgs=src', 'lib', 'x=https://example.org/x.tar.gz'],
      args: { size: '1' },
    })
    expect(created).toBe(true)
    expect(await ops.store.resolve('lab')).toMatchObject({
      uuid: deployment.uuid,
      expressions: [join(folder, 'net.nix'), join(folder, 'libvirt.nix')],
      searchPath: [`nixpkgs=${join(folder, 'src')}`, join(folder, 'lib'), 'x=https://example.org/x.tar.gz'],
      args: { size: '1' },
    })
    expect((await ops.store.history(deployment.uuid)).map((entry) => entry.event)).toContain('create')
  })

  it('takes a folder with a default.nix, as Nix does', async () => {
    mkdirSync(join(folder, 'net'))
    await expect(create({ files: ['net'] })).rejects.toThrow(
      /^the network .* is a folder without a default.nix$/,
    )
    writeFileSync(join(folder, 'net', 'default.nix'), '{ }')
    expect((await create({ files: ['net'] })).deployment.expressions).toEqual([join(folder, 'net')])
  })

  it('needs no name', async () => {
    expect((await create({ name: undefined })).deployment.name).toBeUndefined()
  })

  it('refuses a file that does not exist, and remembers nothing', async () => {
    await expect(create({ files: ['net.nix', 'nte.nix'] })).rejects.toMatchObject({
      exitCode: 2,
      message: "the network expression 'nte.nix' does not exist",
    })
    await expect(create({ files: ['net'] })).rejects.toMatchObject({
      hint: expect.stringContaining('net.nix'),
    })
    expect(await ops.store.list()).toEqual([])
  })

  it('refuses a taken name, and names the deployment', async () => {
    const { deployment } = await create()
    await expect(create()).rejects.toMatchObject({
      exitCode: 2,
      message: `deployment 'lab' already exists (${deployment.uuid})`,
    })
    expect(await ops.store.list()).toHaveLength(1)
  })

  it('changes the deployment of that name with --or-modify', async () => {
    const first = await create()
    const again = await create({ files: ['libvirt.nix'], args: { a: '1' }, orModify: true })
    expect(again.created).toBe(false)
    expect(again.deployment).toMatchObject({
      uuid: first.deployment.uuid,
      expressions: [join(folder, 'libvirt.nix')],
      args: { a: '1' },
    })
  })

  it.each(['', '1st', 'a b', '$(x)', 'a/b'])('refuses %j as a name', async (name) => {
    await expect(create({ name })).rejects.toMatchObject({ exitCode: 2 })
  })
})

it.each([
  ['/abs', '/abs'],
  ['rel', '/home/me/rel'],
  ['n=rel', 'n=/home/me/rel'],
  ['n=/abs', 'n=/abs'],
  ['channel:nixos-24.05', 'channel:nixos-24.05'],
  ['n=https://example.org/x', 'n=https://example.org/x'],
])('-I %s holds wherever the next command is run', (entry, expected) => {
  expect(absoluteEntry(entry, '/home/me')).toBe(expected)
})

describe('modify', () => {
  it('changes only the given fields', async () => {
    await create({ searchPath: ['a'], args: { x: '1' } })
    await modifyDeployment(ops, { ...nothing, name: 'lab2', files: ['libvirt.nix'], folder })
    expect(await ops.store.resolve('lab2')).toMatchObject({
      expressions: [join(folder, 'libvirt.nix')],
      searchPath: [join(folder, 'a')],
      args: { x: '1' },
    })
  })

  it('refuses the name of another deployment, and changes nothing', async () => {
    await create()
    await create({ name: 'other' })
    await expect(modifyDeployment(ops, { ...nothing, name: 'other' })).rejects.toMatchObject({ exitCode: 2 })
    expect((await ops.store.resolve('lab')).name).toBe('lab')
  })

  it('accepts its own name', async () => {
    await create()
    expect((await modifyDeployment(ops, { ...nothing, name: 'lab' })).name).toBe(DeploymentName.parse('lab'))
  })

  it('refuses an empty change', async () => {
    await create()
    await expect(modifyDeployment(ops, nothing)).rejects.toThrow('nothing to modify')
  })
})

describe('set-args', () => {
  it('sets and forgets, and keeps values out of the journal', async () => {
    const { deployment } = await create({ args: { a: '1', b: '2' } })
    await setArguments(ops, { deployment: 'lab', set: { c: '"very private"' }, unset: ['a'] })
    expect((await ops.store.resolve('lab')).args).toEqual({ b: '2', c: '"very private"' })
    expect(JSON.stringify(await ops.store.history(deployment.uuid))).not.toContain('very private')
  })

  it('refuses to forget an argument that is not set, with a suggestion', async () => {
    await create({ args: { memory: '1' } })
    await expect(setArguments(ops, { deployment: 'lab', set: {}, unset: ['memroy'] })).rejects.toMatchObject({
      exitCode: 2,
      hint: "did you mean 'memory'?",
    })
  })

  it('refuses an empty change', async () => {
    await create()
    await expect(setArguments(ops, { deployment: 'lab', set: {}, unset: [] })).rejects.toMatchObject({
      exitCode: 2,
    })
  })
})

describe('delete', () => {
  it('forgets a deployment without machines, after asking', async () => {
    const { deployment } = await create()
    ops.answerTo = true
    await deleteDeployment(ops, { deployment: 'lab', force: false, yes: false })
    expect(ops.asked).toEqual(["forget deployment 'lab' with its keys, logs and history?"])
    expect(await ops.store.list()).toEqual([])
    await expect(ops.store.resolve(deployment.uuid)).rejects.toThrow()
  })

  it('leaves the deployment when the answer is no', async () => {
    await create()
    ops.answerTo = false
    await expect(
      deleteDeployment(ops, { deployment: 'lab', force: false, yes: false }),
    ).rejects.toMatchObject({
      exitCode: 1,
      message: 'nothing was deleted',
    })
    expect(await ops.store.list()).toHaveLength(1)
  })

  it('refuses while machines remain, unless it is forced', async () => {
    await withMachine(true)
    await expect(deleteDeployment(ops, { deployment: 'lab', force: false, yes: true })).rejects.toMatchObject(
      {
        exitCode: 2,
        message: "deployment 'lab' still has machines: web",
      },
    )
    expect(await ops.store.list()).toHaveLength(1)
    await deleteDeployment(ops, { deployment: 'lab', force: true, yes: true })
    expect(await ops.store.list()).toEqual([])
  })

  it('refuses while disks would go with the folder, also when it is forced', async () => {
    await withMachine(true)
    const disks = join(ops.files.paths((await ops.store.resolve('lab')).uuid).disks, 'web')
    mkdirSync(disks, { recursive: true })
    writeFileSync(join(disks, 'root.qcow2'), 'precious')
    const forced = { deployment: 'lab', force: true, yes: true }
    await expect(deleteDeployment(ops, forced)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('disks of machines are in the folder'),
    })
    expect(readFileSync(join(disks, 'root.qcow2'), 'utf8')).toBe('precious')
    rmSync(disks, { recursive: true })
    await deleteDeployment(ops, forced)
    expect(await ops.store.list()).toEqual([])
  })

  it('ignores machines that were never made', async () => {
    await withMachine(false)
    await deleteDeployment(ops, { deployment: 'lab', force: false, yes: true })
    expect(await ops.store.list()).toEqual([])
  })
})

describe('list', () => {
  it('uses the state alone, in natural order', async () => {
    await create({ name: 'lab10' })
    await create({ name: 'lab2' })
    await withMachine(true)
    const { deployments, problems } = await listDeployments(ops)
    expect(deployments.map(({ name, machines, types }) => ({ name, machines, types }))).toEqual([
      { name: 'lab', machines: 1, types: ['fake'] },
      { name: 'lab2', machines: 0, types: [] },
      { name: 'lab10', machines: 0, types: [] },
    ])
    expect(problems).toEqual([])
    expect(ops.nix.evaluations).toEqual([])
  })

  it('names unreadable deployments beside the readable ones', async () => {
    const { deployment } = await create()
    await create({ name: 'other' })
    writeFileSync(join(ops.files.paths(deployment.uuid).root, 'state.json'), '{"trunc')
    const { deployments, problems } = await listDeployments(ops)
    expect(deployments.map((row) => row.name)).toEqual(['other'])
    expect(problems).toHaveLength(1)
    expect(problems[0]?.message).toContain(deployment.uuid)
  })
})

describe('the lab of root', () => {
  const passwd = () => join(folder, 'passwd')
  const state = () => join(folder, 'home', '.local', 'state', 'hydra-ops')
  beforeEach(() => {
    writeFileSync(
      passwd(),
      `root:x:0:0::/root:/bin/sh\nhydra-lab:x:1001:1001::${join(folder, 'home')}:/bin/bash\n`,
    )
    mkdirSync(join(state(), 'deployments', 'one'), { recursive: true })
  })

  it('is named to root with its state', () => {
    expect(labElsewhere('/var/lib/other', passwd(), 0)).toEqual({
      user: 'hydra-lab',
      deployments: 1,
      command: `hydra-ops list --state ${state()}`,
    })
    mkdirSync(join(folder, 'home', 'bin', 'hydra-ops'), { recursive: true })
    expect(labElsewhere('/var/lib/other', passwd(), 0)?.command).toBe(
      `runuser -u hydra-lab -- ${join(folder, 'home', 'bin', 'hydra-ops')} list`,
    )
  })

  it('is not mentioned to other users, or when root looks at its state', () => {
    expect(labElsewhere('/var/lib/other', passwd(), 1000)).toBeUndefined()
    expect(labElsewhere(state(), passwd(), 0)).toBeUndefined()
  })

  it('may be absent', () => {
    rmSync(join(state(), 'deployments'), { recursive: true })
    expect(labElsewhere('/var/lib/other', passwd(), 0)).toBeUndefined()
    writeFileSync(passwd(), 'root:x:0:0::/root:/bin/sh\n')
    expect(labElsewhere('/var/lib/other', passwd(), 0)).toBeUndefined()
  })
})

describe('unlock', () => {
  it('asks, then names the former holder', async () => {
    const { deployment } = await create()
    ops.answerTo = true
    const holder = await ops.store
      .lock(deployment.uuid, () => unlockDeployment(ops, { deployment: 'lab', yes: false }))
      .catch((error: unknown) => String(error))
    expect(ops.asked[0]).toContain("remove the lock of 'lab'?")
    expect(holder).toContain('tester')
  })

  it('needs no answer when nobody holds the lock', async () => {
    await create()
    expect(await unlockDeployment(ops, { deployment: 'lab', yes: true })).toBeUndefined()
  })

  it('leaves the lock when the answer is no', async () => {
    await create()
    ops.answerTo = false
    await expect(unlockDeployment(ops, { deployment: 'lab', yes: false })).rejects.toMatchObject({
      exitCode: 1,
    })
  })
})

describe('preferences', () => {
  it('are set, shown and forgotten', async () => {
    await create()
    await setPreference(ops, 'deployment', 'lab')
    await setPreference(ops, 'plugins', 'a-provider, @scope/other')
    await setPreference(ops, 'max-concurrent', '4')
    expect(await listPreferences(ops)).toEqual([
      { key: 'deployment', value: 'lab' },
      { key: 'plugins', value: 'a-provider,@scope/other' },
      { key: 'max-concurrent', value: '4' },
    ])
    expect(await ops.store.preferences()).toEqual({
      deployment: 'lab',
      plugins: ['a-provider', '@scope/other'],
      maxConcurrent: 4,
    })
    await setPreference(ops, 'deployment', undefined)
    expect(await getPreference(ops, 'deployment')).toBeUndefined()
  })

  it.each([
    ['deployment', 'nowhere'],
    ['max-concurrent', '0'],
    ['max-concurrent', 'x'],
    ['plugins', 'a,,b'],
  ])('refuse an impossible value: %s %s', async (key, value) => {
    await expect(setPreference(ops, key, value)).rejects.toThrow()
    expect(await ops.store.preferences()).toEqual({})
  })

  it('suggest the intended key', async () => {
    await expect(getPreference(ops, 'deploiment')).rejects.toThrow("there is no preference 'deploiment'")
  })
})
