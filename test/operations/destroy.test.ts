import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DeploymentPaths } from '../../src/core/deployment.js'
import { type DeploymentUuid, MachineName, resourceName } from '../../src/core/names.js'
import type { DeploymentSecrets } from '../../src/core/secrets.js'
import { deploy } from '../../src/deploy/deploy.js'
import { sshClientConfig } from '../../src/machine/ssh-client.js'
import { destroyMachines } from '../../src/operations/destroy.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps
let paths: DeploymentPaths
let secrets: DeploymentSecrets
const names = ['web', 'web2', 'web.db']
const network = (...machines: string[]) => fakeNetwork(machines.map((name) => fakeMachine(name)))

beforeEach(async () => {
  ops = await createFakeOps({ network: network(...names) })
  runFakeDebian(ops)
  const { uuid } = await rememberNetwork(ops)
  paths = ops.files.paths(uuid)
  secrets = ops.secrets.of(uuid)
  await deploy(ops, standardRequest)
  for (const name of names) {
    for (const user of ['admin', 'jo.e@x'])
      await secrets.keepGenerated(
        MachineName.parse(name),
        `hydra-user-${user}`,
        `password of ${user} on ${name}`,
      )
  }
})
afterEach(() => ops.cleanup())

const secret = (machine: string, user: string) =>
  join(secrets.place, `${machine}.hydra-user-${encodeURIComponent(user)}.generated`)
const generated = () =>
  readdirSync(secrets.place)
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

describe('the destruction of a machine', () => {
  it('removes its generated passwords, and those of no other machine', async () => {
    writeFileSync(`${secret('web', 'admin')}.0123456789ab.tmp`, 'left by a crash')
    await destroy('web')
    expect(generated()).toEqual(kept)
    await destroy('web.db', 'web2')
    expect(generated()).toEqual([])
  })

  it('also removes them from an obsolete machine', async () => {
    ops.nix.network = network('web2', 'web.db')
    await deploy(ops, { ...standardRequest, killObsolete: true })
    expect(generated()).toEqual(kept)
  })

  it('keeps them when the machine is only recreated: it has the same host key', async () => {
    ops.nix.network = fakeNetwork(
      names.map((name) => fakeMachine(name, name === 'web' ? { fake: { baseImage: 'another' } } : {})),
    )
    await deploy(ops, { ...standardRequest, allowRecreate: true })
    expect(generated()).toHaveLength(6)
  })

  it('leaves no ssh configuration for the machine, alone or with others', async () => {
    const folder = paths.ssh
    rmSync(folder, { recursive: true, force: true })
    const configFor = async (...machines: string[]) =>
      sshClientConfig(
        ops,
        await ops.store.resolve('net'),
        machines.map((name) => MachineName.parse(name)),
        { signal: ops.signal, log: () => {} },
      )
    for (const machines of [['web'], ['web', 'web2'], ['web', 'web2', 'web.db']]) await configFor(...machines)
    const stay = [await configFor('web2'), await configFor('web2', 'web.db')]
    expect(readdirSync(folder)).toHaveLength(10)
    await destroy('web')
    const names = stay.map((file) => basename(file, '.config'))
    expect(readdirSync(folder).sort()).toEqual(
      names.flatMap((name) => [`${name}.config`, `${name}.known_hosts`]).sort(),
    )
  })

  it('leaves no root of its closures, also of merely built ones, and keeps those of the others', async () => {
    ops.nix.network = fakeNetwork(names.map((name) => fakeMachine(name, { version: 'v2' })))
    await deploy(ops, { ...standardRequest, until: 'build' })
    const roots = () => readdirSync(paths.gcroots).filter((name) => name !== 'place')
    expect(
      roots().filter((name) => name.startsWith('web+') || name.startsWith('web-')).length,
    ).toBeGreaterThan(2)
    const others = roots().filter((name) => /^web(?:2|\.db)/.test(name))
    await destroy('web')
    expect(roots()).toEqual(others)
  })

  it('names the removed passwords', async () => {
    await destroy('web')
    expect(ops.emitted).toContainEqual({
      kind: 'line',
      machine: 'web',
      line: 'destroyed the machine and the generated secrets hydra-user-admin, hydra-user-jo.e@x',
    })
    expect(existsSync(secret('web', 'admin'))).toBe(false)
  })
})

describe('an existing host that is destroyed', () => {
  beforeEach(() => Object.assign(ops.providers.named('fake'), { makesMachines: false }))
  const forgotten = (folder: string) =>
    `removed from the state (the host itself is untouched); ${folder} keeps the generated secrets ` +
    'hydra-user-admin, hydra-user-jo.e@x, which the host may still use'
  const all = ['admin', 'jo.e%40x'].map((user) => `web.hydra-user-${user}.generated`)

  it('keeps its generated passwords, which the host still has, and the output says where they are', async () => {
    await destroy('web')
    expect(generated()).toEqual([...all, ...kept].sort())
    expect(ops.emitted).toContainEqual({ kind: 'line', machine: 'web', line: forgotten(secrets.place) })
    expect((await ops.store.resolve('net')).machines).not.toHaveProperty('web')
  })

  it('also keeps them as an obsolete host', async () => {
    ops.nix.network = network('web2', 'web.db')
    await deploy(ops, { ...standardRequest, killObsolete: true })
    expect(generated()).toEqual([...all, ...kept].sort())
  })
})

describe('a file beside the keys with a name that no secret has', () => {
  it.each([
    ['web.a%zz.generated', 'a%zz'],
    ['web.%.generated', '%'],
    ['web.%ff.generated.0123456789ab.tmp', '%ff'],
  ])('is removed and shown as it is: %s', async (file, shown) => {
    writeFileSync(join(secrets.place, file), 'put there by hand')
    expect(await destroy('web')).toMatchObject([{ machine: 'web', outcome: 'changed' }])
    expect(generated()).toEqual(kept)
    expect((await ops.store.resolve('net')).machines).not.toHaveProperty('web')
    expect(ops.emitted).toContainEqual({ kind: 'line', machine: 'web', line: expect.stringContaining(shown) })
  })
})

describe('destroy of a machine that was never made, according to the state,', () => {
  let uuid: DeploymentUuid
  beforeEach(async () => {
    uuid = (await ops.store.resolve('net')).uuid
  })
  /** Restores an older state, in which `web` has no resources. */
  const restoreOlderState = () =>
    ops.store.lock(uuid, async (held) =>
      held.updateMachine(MachineName.parse('web'), (web) => {
        web.handle = undefined
      }),
    )
  const ask = (answer: boolean, yes = false) => {
    ops.answerTo = answer
    return destroyMachines(ops, {
      deployment: 'net',
      selection: { include: ['web'] },
      yes,
      maxConcurrent: 3,
    })
  }
  const domains = () => ops.hypervisor.listing().domains.length

  it.each(['running', 'stopped'])('still asks when its domain is found %s', async (state) => {
    await restoreOlderState()
    if (state === 'stopped') ops.hypervisor.stop(resourceName(uuid, MachineName.parse('web')))
    await expect(ask(false)).rejects.toMatchObject({ code: 'REFUSED' })
    expect(ops.asked).toEqual(["destroy web of deployment 'net', with their disks?"])
    expect(domains()).toBe(3)
    expect(await ask(true)).toMatchObject([{ machine: 'web', outcome: 'changed' }])
    expect(domains()).toBe(2)
  })

  it('asks when its folder still has a disk', async () => {
    await restoreOlderState()
    ops.hypervisor.undefine(resourceName(uuid, MachineName.parse('web')))
    mkdirSync(join(paths.disks, 'web'), { recursive: true })
    writeFileSync(join(paths.disks, 'web', 'root.qcow2'), 'data')
    await expect(ask(false)).rejects.toMatchObject({ code: 'REFUSED' })
  })

  it('asks when the hypervisor cannot tell', async () => {
    await restoreOlderState()
    const { inspect } = ops.providers.named('fake')
    Object.assign(ops.providers.named('fake'), {
      inspect: async () => ({ kind: 'unknown', reason: 'it does not answer' }),
    })
    await expect(ask(false)).rejects.toMatchObject({ code: 'REFUSED' })
    Object.assign(ops.providers.named('fake'), { inspect })
  })

  it('needs no answer with --yes, and reports that something was removed', async () => {
    await restoreOlderState()
    expect(await ask(false, true)).toMatchObject([{ machine: 'web', outcome: 'changed' }])
    expect(ops.asked).toEqual([])
    expect(domains()).toBe(2)
  })

  it('refuses a machine that was created after the confirmation', async () => {
    await restoreOlderState()
    const name = resourceName(uuid, MachineName.parse('web'))
    const domain = ops.hypervisor.domain(name)
    const disk = ops.hypervisor.disk(name)
    if (domain === undefined || disk === undefined) throw new Error('web is not there')
    ops.hypervisor.stop(name)
    ops.hypervisor.undefine(name)
    ops.hypervisor.removeDisk(name)
    const { confirm } = ops.questions
    Object.assign(ops.questions, {
      confirm: async (question: string) => {
        ops.hypervisor.makeDisk(name, disk)
        ops.hypervisor.define(name, domain)
        return confirm(question)
      },
    })
    ops.answerTo = true
    const results = await destroyMachines(ops, {
      deployment: 'net',
      selection: { include: ['web', 'web2'] },
      yes: false,
      maxConcurrent: 3,
    })
    expect(ops.asked).toEqual(["destroy web2 of deployment 'net', with their disks?"])
    expect(results).toMatchObject([
      { machine: 'web', outcome: 'failed', reason: "machine 'web' was created after the confirmation" },
      { machine: 'web2', outcome: 'changed' },
    ])
    expect(ops.hypervisor.domain(name)).toEqual(domain)
  })
})

describe('destroy of several machines, with one unreadable,', () => {
  let uuid: DeploymentUuid
  beforeEach(async () => {
    uuid = (await ops.store.resolve('net')).uuid
    ops.answerTo = true
  })
  const fake = () => ops.providers.named('fake')
  /** Removes the records of machines, so that destroy must look for their resources. */
  const forget = (...machines: string[]) =>
    ops.store.lock(uuid, async (held) => {
      for (const machine of machines.map((name) => MachineName.parse(name)))
        await held.updateMachine(machine, (draft) => Object.assign(draft, { handle: undefined }))
    })
  const all = (yes: boolean, maxConcurrent = 3) =>
    destroyMachines(ops, { deployment: 'net', selection: {}, yes, maxConcurrent })
  const rows = [
    { machine: 'web', outcome: 'failed', reason: expect.stringContaining('no answer') },
    { machine: 'web2', outcome: 'changed' },
    { machine: 'web.db', outcome: 'changed' },
  ]

  it.each([false, true])('destroys the others, and the row reports the failure (--yes: %s)', async (yes) => {
    await forget('web')
    const { inspect } = fake()
    Object.assign(fake(), {
      inspect: async (resource: Parameters<typeof inspect>[0], run: Parameters<typeof inspect>[1]) => {
        if (resource.machine === 'web') throw new Error('no answer')
        return inspect(resource, run)
      },
    })
    expect(await all(yes)).toMatchObject(rows)
    expect(ops.asked).toEqual(yes ? [] : ["destroy web, web2, web.db of deployment 'net', with their disks?"])
  })

  it.each([false, true])('destroys the others when a provider is not installed (--yes: %s)', async (yes) => {
    await ops.store.lock(uuid, async (held) =>
      held.updateMachine(MachineName.parse('web'), (draft) => Object.assign(draft, { provider: 'gone' })),
    )
    expect(await all(yes)).toMatchObject([{ machine: 'web', outcome: 'failed' }, ...rows.slice(1)])
  })

  it('looks at no more machines at once than --max-concurrent allows, and at each once with --yes', async () => {
    await forget(...names)
    const { inspect } = fake()
    const seen = { now: 0, most: 0, looks: 0 }
    Object.assign(fake(), {
      inspect: async (resource: Parameters<typeof inspect>[0], run: Parameters<typeof inspect>[1]) => {
        seen.looks += 1
        seen.now += 1
        seen.most = Math.max(seen.most, seen.now)
        await new Promise((resolve) => setImmediate(resolve))
        seen.now -= 1
        return inspect(resource, run)
      },
    })
    ops.answerTo = false
    await expect(all(false, 1)).rejects.toMatchObject({ code: 'REFUSED' })
    expect(seen).toEqual({ now: 0, most: 1, looks: 3 })
    await all(true, 1)
    expect(seen).toEqual({ now: 0, most: 1, looks: 6 })
  })
})

describe('destroy of a deployment without machines', () => {
  it('touches no machine that is made before it has the lock', async () => {
    const { uuid } = await ops.store.create({
      name: 'empty' as never,
      expressions: ['/net.nix'],
      searchPath: [],
      args: {},
    })
    const lock = ops.store.lock.bind(ops.store)
    let made = false
    Object.assign(ops.store, {
      lock: async (...args: Parameters<typeof lock>) => {
        Object.assign(ops.store, { lock })
        await deploy(ops, { ...standardRequest, deployment: 'empty' })
        made = true
        return lock(...args)
      },
    })
    const request = { deployment: 'empty', selection: {}, yes: true, maxConcurrent: 3 }
    expect(await destroyMachines(ops, request)).toEqual([])
    Object.assign(ops.store, { lock })
    if (!made) await deploy(ops, { ...standardRequest, deployment: 'empty' })
    expect(Object.keys((await ops.store.resolve(uuid)).machines)).toHaveLength(3)
  })
})
