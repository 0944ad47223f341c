import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { NetworkDefinition } from '../../src/core/definition.js'
import type { JobsInit } from '../../src/operations/jobs-init.js'
import { modifyDeployment } from '../../src/operations/modify.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import type { FakeOps } from '../fakes/fake-ops.js'
import { nixosDefinition } from '../fakes/nixos-definition.js'
import { form, type JobsCheckout, jobsCheckout, url, web } from './jobs-checkout.js'

let net: JobsCheckout
let ops: FakeOps
let root: string
beforeEach(async () => {
  net = await jobsCheckout()
  ops = net.ops
  root = net.root
})
afterEach(() => net.dispose())

const init = (changed?: Partial<JobsInit>) => net.init(changed)
const text = (path: string) => net.text(path)
const json = (path: string) => net.json(path)
const network = (changed: Partial<NetworkDefinition>) => net.network(changed)
const contents = () => net.contents()
const notices = () => net.notices()
const remember = (expressions?: string[], name?: string) => net.remember(expressions, name)

describe('hydra jobs init', () => {
  it('writes the jobs, a file for each machine, the jobsets, the facts and its own evaluation', async () => {
    const { written, removed, folder, missingInputs } = await init()
    expect(folder).toBe(join(root, 'hydra'))
    expect(removed).toEqual([])
    expect(missingInputs).toEqual([])
    expect(written.filter((path) => !path.startsWith('hydra-ops/'))).toEqual([
      ...['db.nix', 'default.nix', 'machines.json', 'spec.json', 'web.nix'],
    ])
    expect(written).toContain('hydra-ops/nix/eval.nix')
    expect(written).toContain('hydra-ops/nix/target/hydra-ops/activate.pl')
    expect(text('default.nix')).toContain('files = [ ../lab/net.nix ];')
    expect(json('machines.json').machines).toEqual({
      db: { privateIPv4: '192.0.2.2' },
      web: { privateIPv4: '192.0.2.1' },
    })
    expect(json('spec.json').main).toMatchObject({
      nixexprpath: 'hydra/default.nix',
      inputs: { network: { type: 'git', value: `${url} main` } },
    })
  })

  it('says in each file who wrote it, except in the list of jobsets, in which Hydra allows no such word', async () => {
    await init()
    const line = 'Written by `hydra-ops hydra jobs init`, which also refreshes this file.'
    for (const path of ['default.nix', 'web.nix', 'machines.json', 'hydra-ops/settings.json'])
      expect(text(path), path).toContain(line)
  })

  it('tells the NixOS machines on which others build, so that Hydra builds the systems of a deploy', async () => {
    const builder = (users: string[]) =>
      fakeMachine('db', { deployment: { builder: { enable: true, for: users } } })
    network(fakeNetwork([nixosDefinition('web'), builder(['web'])], { form }))
    await init()
    expect(json('machines.json').machines).toEqual({
      db: { privateIPv4: '192.0.2.2' },
      web: { privateIPv4: '192.0.2.1', usesBuilders: true },
    })
    network(fakeNetwork([nixosDefinition('web'), builder(['ci'])], { form }))
    expect(await notices()).toEqual([
      expect.stringContaining(
        "older than the state: machine 'web' differs (usesBuilders); hydra-ops hydra jobs init",
      ),
    ])
  })

  it('writes nothing at all the second time', async () => {
    await init()
    const before = contents()
    expect(await init()).toMatchObject({ written: [], removed: [] })
    expect(contents()).toEqual(before)
  })

  it('creates no machine and changes nothing in the state, except that deploys evaluate from git', async () => {
    const { machines } = await ops.store.resolve('net')
    expect(await init()).toMatchObject({ fromGit: true })
    expect(await ops.store.resolve('net')).toMatchObject({ machines, fromGit: true })
    expect(ops.hypervisor.listing().running).toEqual([])
  })

  it('leaves the choice of somebody who evaluates files as they lie', async () => {
    const given = { deployment: 'net', name: undefined, files: [], folder: '/', searchPath: [], args: {} }
    await modifyDeployment(ops, { ...given, fromGit: false })
    expect(await init()).toMatchObject({ fromGit: false })
    expect((await ops.store.resolve('net')).fromGit).toBe(false)
  })

  it('follows the network: a new machine gets its file, and the file of an old one goes', async () => {
    await init()
    writeFileSync(join(root, 'hydra', 'mine.nix'), '{ }')
    network(fakeNetwork([web, fakeMachine('cache')], { form }))
    expect(await init()).toMatchObject({ written: ['cache.nix', 'machines.json'], removed: ['db.nix'] })
    expect(existsSync(join(root, 'hydra', 'mine.nix'))).toBe(true)
  })

  it('refreshes its own files after a change by somebody, and removes what is no longer part of them', async () => {
    await init()
    writeFileSync(join(root, 'hydra/hydra-ops/nix/eval.nix'), 'changed')
    writeFileSync(join(root, 'hydra/hydra-ops/nix/old.nix'), 'old')
    expect(await init()).toMatchObject({
      written: ['hydra-ops/nix/eval.nix'],
      removed: ['hydra-ops/nix/old.nix'],
    })
  })

  it.each([
    ['default.nix', 'default.nix'],
    ['web.nix', 'web.nix'],
    ['machines.json', 'machines.json'],
    ['hydra-ops/mine', 'hydra-ops'],
  ])('writes nothing where %s belongs to somebody else', async (path, named) => {
    mkdirSync(join(root, 'hydra/hydra-ops'), { recursive: true })
    if (!path.startsWith('hydra-ops')) rmSync(join(root, 'hydra/hydra-ops'), { recursive: true })
    writeFileSync(join(root, 'hydra', path), '{ }')
    await expect(init()).rejects.toMatchObject({
      message: `hydra/${named} was not written by hydra-ops; nothing was changed`,
      hint: expect.stringContaining('hydra jobs init DIR'),
    })
    expect(readdirSync(join(root, 'hydra'))).toHaveLength(1)
    expect((await ops.store.resolve('net')).fromGit).toBeUndefined()
  })

  it('writes nothing while another command has the deployment', async () => {
    const { uuid } = await ops.store.resolve('net')
    await ops.store.lock(uuid, async () => {
      await expect(init()).rejects.toThrow(/is locked by/)
    })
    expect(existsSync(join(root, 'hydra'))).toBe(false)
    expect(await init()).toMatchObject({ fromGit: true, changedFromGit: true })
    rmSync(join(root, 'hydra/spec.json'))
    await ops.store.lock(uuid, async () => {
      await expect(init()).rejects.toThrow(/is locked by/)
    })
    expect(existsSync(join(root, 'hydra/spec.json'))).toBe(false)
  })

  it("gives each machine of Morph's network a jobset, with nixpkgs as an input", async () => {
    network({ form: { ...form, layout: 'morph', namesNixpkgs: true } })
    await init({ nixpkgs: 'https://git.example.org/nixpkgs.git stable' })
    expect(Object.keys(json('spec.json'))).toEqual(['db', 'web'])
    expect(json('spec.json').web).toMatchObject({
      ...{ nixexprpath: 'hydra/web.nix', checkinterval: 3600 },
      inputs: { network: {}, nixpkgs: { value: 'https://git.example.org/nixpkgs.git stable' } },
    })
  })

  it('takes the name of the jobset from the network, and lies in the folder that is named', async () => {
    network({ hydra: { jobset: 'production' } })
    await init({ folder: 'lab', cwd: root })
    const spec: unknown = JSON.parse(readFileSync(join(root, 'lab/hydra/spec.json'), 'utf8'))
    expect(spec).toMatchObject({ production: { nixexprpath: 'lab/hydra/default.nix' } })
    expect(readFileSync(join(root, 'lab/hydra/default.nix'), 'utf8')).toContain('files = [ ../net.nix ];')
  })

  it('names the inputs that only the user can give, and never the value of an argument', async () => {
    await ops.store.lock((await ops.store.resolve('net')).uuid, (held) =>
      held.updateDeployment((draft) => {
        draft.args = { token: '"hunter2"' }
        draft.searchPath = ['modules=/srv/modules', '/srv/other']
      }),
    )
    expect(await init()).toMatchObject({ missingInputs: ['modules', 'token'] })
    expect(JSON.stringify(contents())).not.toContain('hunter2')
    const spec = json('spec.json')
    spec.main = { ...spec.main, inputs: { network: {}, modules: {}, token: {} } }
    writeFileSync(join(root, 'hydra/spec.json'), JSON.stringify(spec))
    expect(await init()).toMatchObject({ missingInputs: [], written: [] })
  })

  it('writes beside a second network of the repository, if that network has a folder of its own', async () => {
    await init()
    mkdirSync(join(root, 'second'))
    const file = join(root, 'second/net.nix')
    writeFileSync(file, '{ }')
    await remember([file], 'second')
    await init({ deployment: 'second', folder: 'second', cwd: root })
    expect(existsSync(join(root, 'second/hydra/default.nix'))).toBe(true)
  })
})

describe('hydra jobs init refuses', () => {
  const refused = (message: string | RegExp) => ({
    message: typeof message === 'string' ? message : expect.stringMatching(message),
    exitCode: 2,
  })

  it('a network outside of git', async () => {
    rmSync(join(root, '.git'), { recursive: true })
    await expect(init()).rejects.toMatchObject(refused(/net\.nix is not in a git repository$/))
  })

  it('a network in two repositories', async () => {
    mkdirSync(join(root, 'other/.git'), { recursive: true })
    await remember([join(root, 'lab/net.nix'), join(root, 'other/net.nix')], 'two')
    await expect(init({ deployment: 'two' })).rejects.toMatchObject(
      refused(`the network expressions are in two repositories, ${root} and ${join(root, 'other')}`),
    )
  })

  it('a folder outside of the repository, and one that lacks a file of the network', async () => {
    await expect(init({ folder: '..', cwd: root })).rejects.toMatchObject(
      refused(/ is not in the repository of the network, /),
    )
    mkdirSync(join(root, 'empty'))
    await expect(init({ folder: 'empty', cwd: root })).rejects.toMatchObject(
      refused(/net\.nix is not in .*\/empty$/),
    )
  })

  it('the folder of another deployment', async () => {
    await init()
    await remember(undefined, 'second')
    await expect(init({ deployment: 'second' })).rejects.toMatchObject({
      ...refused(/machines\.json belongs to another deployment \([0-9a-f-]{36}\)$/),
      hint: expect.stringContaining('each network needs a folder of its own: move the files of this network'),
    })
  })

  it('a repository without an origin, unless the command names an address', async () => {
    net.gitSays.clear()
    await expect(init()).rejects.toMatchObject(
      refused(`the repository ${root} has no remote 'origin' from which Hydra could fetch it`),
    )
    await init({ repository: '/srv/git/net.git main' })
    expect(json('spec.json').main).toMatchObject({ inputs: { network: { value: '/srv/git/net.git main' } } })
  })

  it.each([
    ['origin', 'network', 'https://alice:hunter2@git.example.org/net.git'],
    ['--repository', 'network', 'https://hunter2@git.example.org/net.git main'],
    ['--nixpkgs', 'nixpkgs', 'https://git.example.org/nixpkgs.git?private_token=hunter2 main'],
  ])('a secret in an address, by %s', async (way, input, secret) => {
    if (way === 'origin') net.gitSays.set('config --get remote.origin.url', secret)
    const flags = way === 'origin' ? {} : { [way.slice(2)]: secret }
    const failed = await init(flags).catch((error: unknown) => error)
    expect(failed).toMatchObject(
      refused(
        `the address of the input '${input}' holds a user, a password or a token, which everybody could read in Hydra`,
      ),
    )
    expect(String(failed)).not.toContain('hunter2')
    expect(existsSync(join(root, 'hydra'))).toBe(false)
  })

  it('an unusable list of jobsets', async () => {
    mkdirSync(join(root, 'hydra'))
    writeFileSync(join(root, 'hydra/spec.json'), '[]')
    await expect(init()).rejects.toMatchObject(refused(/^hydra\/spec\.json is not a list of jobsets/))
    expect(text('spec.json')).toBe('[]')
  })

  it.each([
    [['release'], /^machine 'release' cannot be a job: the name is reserved$/],
    [['default'], /^machine 'default' cannot be a job/],
    [['1web'], /^machine '1web' cannot be a job: the name of a job begins with a letter or "_"$/],
    [['web', 'web.db'], /^machines 'web' and 'web\.db' cannot both be jobs: Hydra splits names at dots$/],
  ])('machines %j', async (names, message) => {
    network(
      fakeNetwork(
        names.map((name) => fakeMachine(name)),
        { form },
      ),
    )
    await expect(init()).rejects.toMatchObject(refused(message))
    expect(existsSync(join(root, 'hydra'))).toBe(false)
  })
})

describe('a plan', () => {
  const file = () => join(root, 'hydra/machines.json')
  const refresh = 'hydra-ops hydra jobs init refreshes it'

  it('says nothing about files that fit, nor where there are none', async () => {
    expect(await notices()).toEqual([])
    await init()
    expect(await notices()).toEqual([])
  })

  it('says what changed in the state since the files were written', async () => {
    await init()
    writeFileSync(file(), text('machines.json').replace('192.0.2.1', '192.0.2.9'))
    expect(await notices()).toEqual([
      `${file()} is older than the state: machine 'web' differs (privateIPv4); ${refresh}`,
    ])
    await init()
    expect(await notices()).toEqual([])
  })

  it('says which machine is missing and which one is gone', async () => {
    await init()
    network(fakeNetwork([web, fakeMachine('cache')], { form }))
    expect(await notices()).toEqual([
      `${file()} is older than the state: machine 'cache' is missing; machine 'db' is gone; ${refresh}`,
      `${join(root, 'hydra')} has no file for machine 'cache'; ${refresh}`,
    ])
  })

  it('says that the evaluation in the repository is that of another version', async () => {
    await init()
    writeFileSync(join(root, 'hydra/hydra-ops/nix/merge.nix'), 'old')
    expect(await notices()).toEqual([
      `${join(root, 'hydra/hydra-ops')} was written by another version of hydra-ops; ${refresh}`,
    ])
  })

  it('says that the facts cannot be read, and goes on', async () => {
    await init()
    writeFileSync(file(), '{ "about": ')
    expect(await notices()).toEqual([`${file()} is damaged; ${refresh}`])
  })

  it('ignores files of another deployment', async () => {
    await init()
    const other = '11111111-1111-4111-8111-111111111111'
    writeFileSync(file(), text('machines.json').replace(/"uuid": "[^"]*"/, `"uuid": "${other}"`))
    network(fakeNetwork([web], { form }))
    expect(await notices()).toEqual([])
  })

  it('evaluates from the repository, once jobs init has set that', async () => {
    await notices()
    expect(ops.nix.evaluations.at(-1)?.checkout).toBeUndefined()
    await init()
    await notices()
    expect(ops.nix.evaluations.at(-1)?.checkout).toBe(root)
  })
})
