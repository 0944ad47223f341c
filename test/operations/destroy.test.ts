import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DeploymentPaths } from '../../src/core/deployment.js'
import { MachineName } from '../../src/core/names.js'
import { deploy } from '../../src/operations/deploy/deploy.js'
import { destroyMachines } from '../../src/operations/destroy.js'
import { generatedFile, keepGeneratedSecret } from '../../src/operations/generated-secret.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps } from '../fakes/fake-ops.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps
let paths: DeploymentPaths
const names = ['web', 'web2', 'web.db']
const network = (...machines: string[]) => fakeNetwork(machines.map((name) => fakeMachine(name)))

beforeEach(async () => {
  ops = await createFakeOps({ network: network(...names) })
  runFakeDebian(ops)
  const { uuid } = ops.store.create({
    name: 'net' as never,
    expressions: ['/net.nix'],
    searchPath: [],
    args: {},
  })
  paths = ops.store.paths(uuid)
  await deploy(ops, standardRequest)
  for (const name of names) {
    for (const user of ['admin', 'jo.e@x'])
      keepGeneratedSecret(secret(name, user), `password of ${user} on ${name}`)
  }
})
afterEach(() => ops.cleanup())

const secret = (machine: string, user: string) =>
  generatedFile(paths, MachineName.parse(machine), `hydra-user-${user}`)
const generated = () =>
  readdirSync(paths.keys)
    .filter((name) => name.includes('.generated'))
    .sort()
const destroy = (...include: string[]) =>
  destroyMachines(ops, { deployment: 'net', selection: { include }, yes: true, maxConcurrent: 3 })
const kept = [
  'web.db.hydra-user-admin.generated',
  'web.db.hydra-user-jo.e%40x.generated',
  'web2.hydra-user-admin.generated',
  'web2.hydra-user-jo.e%40x.generated',
]

describe('a machine that is destroyed', () => {
  it('takes its generated passwords with it, and those of no other machine', async () => {
    writeFileSync(`${secret('web', 'admin')}.0123456789ab.tmp`, 'left by a crash')
    await destroy('web')
    expect(generated()).toEqual(kept)
    await destroy('web.db', 'web2')
    expect(generated()).toEqual([])
  })

  it('takes them with it also as an obsolete one', async () => {
    ops.nix.network = network('web2', 'web.db')
    await deploy(ops, { ...standardRequest, killObsolete: true })
    expect(generated()).toEqual(kept)
  })

  it('keeps them when it is only made anew: it is the same machine, with the same host key', async () => {
    ops.nix.network = fakeNetwork(
      names.map((name) => fakeMachine(name, name === 'web' ? { fake: { baseImage: 'another' } } : {})),
    )
    await deploy(ops, { ...standardRequest, allowRecreate: true })
    expect(generated()).toHaveLength(6)
  })

  it('leaves no ssh configuration of its own, alone or with others', async () => {
    const folder = join(dirname(paths.sshConfig), 'ssh')
    mkdirSync(folder, { recursive: true })
    for (const name of ['web', 'web2', 'web+web2', 'web.db+web2'])
      for (const kind of ['config', 'known_hosts']) writeFileSync(join(folder, `${name}.${kind}`), '')
    await destroy('web')
    expect(readdirSync(folder).filter((name) => /(?:^|\+)web(?:\+|\.(?!db))/.test(name))).toEqual([])
    expect(readdirSync(folder)).toEqual(
      expect.arrayContaining([
        'web.db+web2.config',
        'web.db+web2.known_hosts',
        'web2.config',
        'web2.known_hosts',
      ]),
    )
  })

  it('says which passwords went', async () => {
    await destroy('web')
    expect(ops.emitted).toContainEqual({
      kind: 'line',
      machine: 'web',
      line: 'destroyed, with the generated secrets hydra-user-admin, hydra-user-jo.e@x',
    })
    expect(existsSync(secret('web', 'admin'))).toBe(false)
  })
})
