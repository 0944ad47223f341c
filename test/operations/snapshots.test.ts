import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AnyProvider } from '../../src/core/bind-provider.js'
import type { MachineRecord } from '../../src/core/deployment.js'
import { unreachable } from '../../src/core/errors.js'
import { type DeploymentUuid, MachineName, resourceName } from '../../src/core/names.js'
import { deploy } from '../../src/deploy/deploy.js'
import { restoreSnapshots } from '../../src/operations/restore-snapshot.js'
import { createSnapshots, deleteSnapshots, listSnapshots } from '../../src/operations/snapshots.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork, fakeStorePath } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { exit, succeed } from '../fakes/fake-ssh.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps
let uuid: DeploymentUuid
let power: NonNullable<AnyProvider['snapshots']>
const web = MachineName.parse('web')
const network = (version = 'v1') => fakeNetwork([fakeMachine('web', { version }), fakeMachine('db')])

beforeEach(async () => {
  ops = await createFakeOps({ network: network(), parts: { now: () => new Date() } })
  runFakeDebian(ops)
  ops.ssh.answer('set the clock', succeed())
  uuid = (await rememberNetwork(ops)).uuid
  await deploy(ops, standardRequest)
  revertProfiles()
  const { snapshots } = ops.providers.named('fake')
  if (snapshots === undefined) throw new Error('the fake provider keeps snapshots')
  power = snapshots
})
afterEach(() => ops.cleanup())

/** Lets a restore return the made-up machines to the snapshot's closure. */
function revertProfiles(): void {
  const profiles = new Map<string, string>()
  const { hypervisor } = ops
  const file = (name: string) => join(ops.folder, 'machines', `${name.slice(-3).replace('-', '')}.profile`)
  const { makeSnapshot, revert } = hypervisor
  Object.assign(hypervisor, {
    makeSnapshot: (name: string, snapshot: Parameters<typeof makeSnapshot>[1]) => {
      makeSnapshot(name, snapshot)
      profiles.set(`${name}@${snapshot.name}`, readFileSync(file(name), 'utf8'))
    },
    revert: (name: string, snapshot: Parameters<typeof revert>[1]) => {
      revert(name, snapshot)
      const before = profiles.get(`${name}@${snapshot.name}`)
      if (before !== undefined) writeFileSync(file(name), before)
    },
  })
}

const request = (name: string, include?: string[]) => ({
  deployment: 'net',
  selection: include === undefined ? {} : { include },
  maxConcurrent: 3,
  name,
})
const create = (name = 'before', include?: string[]) =>
  createSnapshots(ops, { ...request(name, include), description: 'all is well' })
const restore = (name = 'before', include?: string[]) =>
  restoreSnapshots(ops, { ...request(name, include), yes: true })
const domain = (machine: string) => resourceName(uuid, MachineName.parse(machine))
const record = async (): Promise<MachineRecord> => {
  const found = (await ops.store.resolve('net')).machines[web]
  if (found === undefined) throw new Error('web is in the state')
  return found
}
const change = (action: (draft: MachineRecord) => void) =>
  ops.store.lock(uuid, (session) => session.updateMachine(web, action))
const notices = () => ops.emitted.flatMap((event) => (event.kind === 'notice' ? [event.text] : []))
const isRunning = (machine: string) => ops.hypervisor.running(domain(machine)) !== undefined
const names = (machine: string) => ops.hypervisor.snapshots(domain(machine)).map(({ name }) => name)

describe('snapshot create', () => {
  it('keeps each selected machine, with the memory of those that run, and goes by the hypervisor', async () => {
    ops.hypervisor.stop(domain('db'))
    expect(await create()).toMatchObject([
      { machine: 'web', outcome: 'changed' },
      { machine: 'db', outcome: 'changed' },
    ])
    const { snapshots, problems } = await listSnapshots(ops, request(''))
    expect(problems).toEqual([])
    expect(snapshots).toMatchObject([
      { machine: 'db', name: 'before', memory: false, closure: fakeStorePath('db-v1') },
      { machine: 'web', name: 'before', memory: true, description: 'all is well' },
    ])
    ops.hypervisor.removeSnapshot(domain('db'), 'before')
    expect((await listSnapshots(ops, request(''))).snapshots).toMatchObject([{ machine: 'web' }])
  })

  it('refuses a machine whose provider keeps none before it touches another one, and names it', async () => {
    await change((draft) => Object.assign(draft, { provider: 'bare' }))
    const fake = ops.providers.named('fake')
    const bare = { ...fake, name: 'bare', snapshots: undefined }
    Object.assign(ops.providers, { named: (name: string) => (name === 'bare' ? bare : fake) })
    const refused = {
      exitCode: 2,
      machine: 'web',
      message: "machine 'web': provider 'bare' does not support snapshots",
      hint: 'leave the machine out: --exclude web',
    }
    await expect(create()).rejects.toMatchObject(refused)
    await expect(restore()).rejects.toMatchObject(refused)
    expect(names('db')).toEqual([])
    expect(await create('before', ['db'])).toMatchObject([{ machine: 'db', outcome: 'changed' }])
    expect((await listSnapshots(ops, request(''))).snapshots).toMatchObject([{ machine: 'db' }])
  })

  it.each(['', '-x', 'a b', 'a/b', '12', '../x', `x${'y'.repeat(63)}`])(
    'refuses the name "%s"',
    async (name) => {
      await expect(create(name)).rejects.toMatchObject({
        exitCode: 2,
        message: expect.stringContaining(`'${name}'`),
      })
      expect(names('web')).toEqual([])
    },
  )

  it('does not pass an older snapshot of the name for a new one', async () => {
    await create('before', ['web'])
    const [first] = ops.hypervisor.snapshots(domain('web'))
    expect(await create()).toMatchObject([
      { machine: 'web', outcome: 'failed', hint: expect.stringContaining('snapshot delete before web') },
      { machine: 'db', outcome: 'changed' },
    ])
    expect(ops.hypervisor.snapshots(domain('web'))).toEqual([first])
  })

  it.each(['before', 'after'])('ends what a crash interrupted, %s the hypervisor made it', async (when) => {
    const { create: real } = power
    Object.assign(power, {
      create: async (...given: Parameters<typeof real>) => {
        if (when === 'after') await real(...given)
        throw new Error('the process ends here')
      },
    })
    await create('before', ['web'])
    Object.assign(power, { create: real })
    expect(await create('before', ['web'])).toMatchObject([{ machine: 'web', outcome: 'changed' }])
    expect(names('web')).toEqual(['before'])
    expect((await record()).snapshots?.before).toMatchObject({
      at: expect.any(String),
      facts: { bootId: 'boot-1' },
    })
    expect(await create('before', ['web'])).toMatchObject([{ machine: 'web', outcome: 'failed' }])
  })
})

describe('snapshot restore', () => {
  it('says what is lost and asks; a no leaves everything as it is', async () => {
    await create()
    ops.hypervisor.stop(domain('db'))
    ops.nix.network = network('v2')
    await deploy(ops, standardRequest)
    ops.hypervisor.stop(domain('db'))
    ops.answerTo = false
    const before = await record()
    const asking = restoreSnapshots(ops, { ...request('before'), yes: false })
    await expect(asking).rejects.toMatchObject({ code: 'REFUSED' })
    expect(ops.asked).toEqual(["restore snapshot 'before' of web, db of deployment 'net'?"])
    const [{ at } = { at: '' }] = ops.hypervisor.snapshots(domain('web'))
    expect(notices()).toContainEqual(
      expect.stringMatching(
        new RegExp(
          `^web: a restore loses all changes since ${at} \\(\\d+ seconds? ago\\); 1 generation was deployed since; the machine is running, and its programs end as in a power cut$`,
        ),
      ),
    )
    expect(notices()).toContainEqual(expect.stringMatching(/^db: a restore loses all changes since [^;]*$/))
    expect(await record()).toEqual(before)
    expect(isRunning('web')).toBe(true)
  })

  it('passes on what the provider says is lost, and does not ask with --yes', async () => {
    await create('before', ['web'])
    Object.assign(power, { losses: async () => ['disk data is newer'] })
    await restore()
    expect(ops.asked).toEqual([])
    expect(notices()).toContainEqual(expect.stringMatching(/^web: a restore loses .*; disk data is newer$/))
    expect(notices()).toContain("db: no snapshot 'before'; left unchanged")
  })

  it('makes the record true again, and the next deploy brings what is newer', async () => {
    const old = { at: '2026-01-01T00:00:00Z', inputs: 'old', outputs: { port: '1' } }
    await change((draft) => {
      draft.keys = { old: '/run/keys/old' }
      draft.tasks = { nginx: old }
    })
    await create('before', ['web'])
    const then = await record()
    ops.nix.network = network('v2')
    await deploy(ops, standardRequest)
    await change((draft) => {
      draft.keys = { new: '/run/keys/new' }
      draft.tasks = { nginx: { ...old, inputs: 'new' } }
      draft.unfinishedCopy = { path: fakeStorePath('web-v3'), bootId: 'boot-1' }
    })
    expect(await restore()).toMatchObject([{ machine: 'web', outcome: 'changed' }])
    const now = await record()
    expect(now.deployed).toEqual(then.deployed)
    expect(now.tasks).toEqual({ nginx: old })
    expect(now.unfinishedCopy).toBeUndefined()
    // The old key is back. The newer key stays in the record, so that a deploy can still remove it.
    expect(now.keys).toEqual({ old: '/run/keys/old', new: '/run/keys/new' })
    expect(now.facts).toMatchObject({ bootId: 'boot-1' })
    await change((draft) => Object.assign(draft, { keys: {} }))
    const { results } = await deploy(ops, standardRequest)
    expect(Object.fromEntries(results.map(({ machine, outcome }) => [machine, outcome]))).toEqual({
      web: 'changed',
      db: 'unchanged',
    })
    expect((await record()).deployed?.path).toBe(fakeStorePath('web-v2'))
  })

  it('claims nothing when it was interrupted, so that the next deploy finds what is true', async () => {
    await create('before', ['web'])
    ops.nix.network = network('v2')
    await deploy(ops, standardRequest)
    const { restore: real } = power
    Object.assign(power, {
      restore: async (...given: Parameters<typeof real>) => {
        await real(...given)
        throw new Error('the process ends here')
      },
    })
    expect(await restore()).toMatchObject([{ machine: 'web', outcome: 'failed' }])
    expect(await record()).toMatchObject({ tasks: {}, facts: {} })
    expect((await record()).deployed).toBeUndefined()
    Object.assign(power, { restore: real })
    await deploy(ops, standardRequest)
    expect((await record()).deployed?.path).toBe(fakeStorePath('web-v2'))
    expect(await restore()).toMatchObject([{ machine: 'web', outcome: 'changed' }])
    expect((await record()).deployed?.path).toBe(fakeStorePath('web-v1'))
  })

  it('leaves the record alone where a snapshot cannot be restored', async () => {
    await create('before', ['web'])
    const before = await record()
    Object.assign(power, {
      losses: async () => {
        throw unreachable(web, 'its disk is gone')
      },
    })
    await expect(restore()).rejects.toThrow('its disk is gone')
    expect(await record()).toEqual(before)
  })

  it('reads the closure from the machine where somebody else made the snapshot', async () => {
    await create('before', ['web'])
    const [snapshot] = ops.hypervisor.snapshots(domain('web'))
    if (snapshot === undefined) throw new Error('there is a snapshot')
    ops.hypervisor.removeSnapshot(domain('web'), 'before')
    ops.hypervisor.makeSnapshot(domain('web'), { ...snapshot, at: '2026-01-01T00:00:00.000Z' })
    writeFileSync(join(ops.folder, 'machines', 'web.profile'), fakeStorePath('web-other'))
    ops.hypervisor.makeSnapshot(domain('web'), { ...snapshot, name: 'by-hand' })
    for (const name of ['before', 'by-hand']) {
      await change((draft) => Object.assign(draft, { tasks: { nginx: { inputs: '', outputs: {}, at: '' } } }))
      await restore(name)
      const now = await record()
      expect(now.tasks).toEqual({})
      expect(now.deployed?.path).toBe(fakeStorePath(name === 'before' ? 'web-v1' : 'web-other'))
      expect(now.facts.bootId).toBe('boot-1')
    }
  })

  it('sets the clock of a machine that continues from its memory, and goes on where that fails', async () => {
    await create('before', ['web'])
    ops.ssh.answer('set the clock', exit(1, 'Operation not permitted'))
    expect(await restore()).toMatchObject([{ machine: 'web', outcome: 'changed' }])
    expect(notices()).toContainEqual(
      expect.stringMatching(/'web': its clock may be behind.*set the clock.*status 1/),
    )
    const asked = ops.ssh.execs.filter(({ what }) => what === 'set the clock')
    expect(asked).toMatchObject([{ machine: 'web', values: { now: expect.stringMatching(/^\d{10}$/) } }])
  })

  it('starts a machine that ran, where the snapshot has no memory, and waits until it answers', async () => {
    ops.hypervisor.stop(domain('web'))
    await create('off', ['web'])
    ops.hypervisor.start(domain('web'))
    expect(await restore('off')).toMatchObject([{ outcome: 'changed' }])
    expect(isRunning('web')).toBe(true)
    expect(ops.ssh.execs.filter(({ what }) => what === 'set the clock')).toEqual([])
    expect((await record()).facts.bootId).toBe('boot-1')
  })

  it('leaves a machine off that was off, where the snapshot has no memory', async () => {
    ops.hypervisor.stop(domain('web'))
    await create('off', ['web'])
    expect(await restore('off')).toMatchObject([{ outcome: 'changed' }])
    expect(isRunning('web')).toBe(false)
    expect((await record()).deployed?.path).toBe(fakeStorePath('web-v1'))
  })

  it('starts a machine whose provider only put the memory there', async () => {
    await create('before', ['web'])
    const { restore: real } = power
    Object.assign(power, {
      restore: async (...given: Parameters<typeof real>) => {
        const allocation = await real(...given)
        ops.hypervisor.stop(domain('web'))
        return allocation
      },
    })
    expect(await restore()).toMatchObject([{ outcome: 'changed' }])
    expect(isRunning('web')).toBe(true)
  })

  it('records the ports that a restore chose anew, and says them', async () => {
    await create('before', ['web'])
    const { restore: real } = power
    Object.assign(power, {
      restore: async (...given: Parameters<typeof real>) => {
        await real(...given)
        const found = ops.hypervisor.domain(domain('web'))
        if (found !== undefined) ops.hypervisor.define(domain('web'), { ...found, port: 29_999 })
        return { sshPort: 29_999, ports: [], address: '192.0.2.1' }
      },
    })
    expect(await restore()).toMatchObject([{ outcome: 'changed' }])
    expect((await record()).allocation).toMatchObject({ sshPort: 29_999 })
    expect(notices()).toContainEqual(expect.stringContaining('now 127.0.0.1:29999'))
  })

  it('refuses a name that no machine has, or that a named machine lacks, with what was meant', async () => {
    await create('before', ['web'])
    await expect(restore('befor')).rejects.toMatchObject({
      exitCode: 2,
      message: "no machine has a snapshot 'befor'",
      hint: "did you mean 'before'?",
    })
    await expect(restore('before', ['web', 'db'])).rejects.toMatchObject({
      exitCode: 2,
      message: "machine 'db' has no snapshot 'before'",
    })
  })
})

describe('snapshot delete', () => {
  it('asks, deletes it where it is, and forgets what was known then', async () => {
    await create('before', ['web'])
    await create('other')
    const remove = (yes: boolean) => deleteSnapshots(ops, { ...request('before'), yes })
    ops.answerTo = false
    await expect(remove(false)).rejects.toMatchObject({ code: 'REFUSED' })
    expect(ops.asked).toEqual(["delete snapshot 'before' of web of deployment 'net'?"])
    expect(names('web')).toEqual(['before', 'other'])
    expect(await remove(true)).toMatchObject([{ machine: 'web', outcome: 'changed' }])
    expect(names('web')).toEqual(['other'])
    expect(Object.keys((await record()).snapshots ?? {})).toEqual(['other'])
    await expect(remove(true)).rejects.toMatchObject({ exitCode: 2, hint: 'there are: other' })
  })

  it('can be repeated after a crash, and then a new one may have the name', async () => {
    await create('before', ['web'])
    const { delete: real } = power
    Object.assign(power, {
      delete: async (...given: Parameters<typeof real>) => {
        await real(...given)
        throw new Error('the process ends here')
      },
    })
    const remove = () => deleteSnapshots(ops, { ...request('before'), yes: true })
    expect(await remove()).toMatchObject([{ outcome: 'failed' }])
    Object.assign(power, { delete: real })
    await expect(remove()).rejects.toMatchObject({ exitCode: 2 })
    expect(await create('before', ['web'])).toMatchObject([{ outcome: 'changed' }])
  })
})

describe('snapshots of a machine', () => {
  it('are gone with the machine, also when it is made anew, which the plan says', async () => {
    await create('before', ['web'])
    ops.nix.network = fakeNetwork([fakeMachine('web', { fake: { baseImage: 'other' } }), fakeMachine('db')])
    const { plan } = await deploy(ops, { ...standardRequest, allowRecreate: true })
    expect(JSON.stringify(plan)).toContain('its snapshots are lost')
    expect(names('web')).toEqual([])
    expect((await record()).snapshots).toBeUndefined()
  })

  it('are listed although another machine does not answer', async () => {
    await create()
    const { list } = power
    Object.assign(power, {
      list: async (...given: Parameters<typeof list>) => {
        if (given[0].machine === 'db') throw unreachable(MachineName.parse('db'), 'libvirt is away')
        return list(...given)
      },
    })
    const { snapshots, problems } = await listSnapshots(ops, request(''))
    expect(snapshots).toMatchObject([{ machine: 'web' }])
    expect(problems).toEqual([expect.stringMatching(/db.*libvirt is away/)])
  })
})
