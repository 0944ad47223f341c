import { afterEach, describe, expect, it } from 'vitest'
import type { MachineDefinition } from '../../src/core/definition.js'
import { usageError } from '../../src/core/errors.js'
import { MachineName } from '../../src/core/names.js'
import { deploy } from '../../src/deploy/deploy.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { startMachines } from '../../src/operations/power.js'
import { sendKeys } from '../../src/operations/send-keys.js'
import { setupStatus } from '../../src/operations/setup.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork, fakeStorePath } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps

async function open(...machines: MachineDefinition[]) {
  ops = await createFakeOps({ network: fakeNetwork(machines) })
  runFakeDebian(ops)
  await rememberNetwork(ops)
}

afterEach(() => ops.cleanup())

const web = fakeMachine('web', { deployment: { tags: ['front'] } })
const db = fakeMachine('db', { deployment: { tags: ['back'] } })
const machines = async () => Object.keys((await ops.store.resolve('net')).machines)

async function run(request: Partial<DeployRequest> = {}) {
  const { results } = await deploy(ops, { ...standardRequest, ...request })
  return Object.fromEntries(results.map(({ machine, outcome }) => [machine, outcome]))
}

function breakMachine(name: string) {
  const machine = MachineName.parse(name)
  ops.nix.invalid.set(machine, usageError(`machine '${name}' (net.nix): tagz: unknown option`, { machine }))
}

describe('a machine with a broken definition', () => {
  const selections: [string, Partial<DeployRequest>][] = [
    ['--on', { selection: { on: 'w*' } }],
    ['a tag', { selection: { on: '@front' } }],
    ['--include', { selection: { include: ['web'] } }],
    ['--exclude', { selection: { exclude: ['db'] } }],
  ]

  it.each(selections)('does not keep the others from being deployed by %s', async (_, request) => {
    await open(web, db)
    await run()
    breakMachine('db')
    expect(await run(request)).toEqual({ web: 'unchanged' })
    expect((await ops.store.resolve('net')).machines[db.name]?.obsolete).toBe(false)
    const notices = ops.emitted.filter((event) => event.kind === 'notice')
    expect(notices).toMatchObject([{ text: expect.stringContaining('tagz') }])
  })

  it('is refused when it is selected, and by a deploy of everything, before any change', async () => {
    await open(web, db)
    breakMachine('db')
    for (const request of [{}, { selection: { on: 'db' } }, { retryFailed: true }]) {
      await expect(run(request)).rejects.toMatchObject({
        exitCode: 2,
        message: expect.stringContaining('tagz'),
      })
    }
    expect(ops.hypervisor.listing().domains).toEqual([])
  })

  it('does not count as a machine without the excluded tag', async () => {
    await open(web, db, fakeMachine('dc', { deployment: { tags: ['back'] } }))
    breakMachine('db')
    await expect(run({ selection: { on: '!@back' } })).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining("cannot look for its tag 'back'"),
    })
    await expect(run({ selection: { on: '@middle' } })).rejects.toMatchObject({
      hint: expect.stringContaining('machines with an invalid definition, whose tags are unknown: db'),
    })
  })

  it('lets the closures of the selected machines alone be evaluated', async () => {
    await open(web, db)
    await run({ selection: { on: 'web' } })
    expect(ops.nix.evaluations.map(({ mode, only }) => [mode, only])).toEqual([
      ['shape', undefined],
      ['write', ['web']],
    ])
  })

  it('fails alone when keys are sent and machines started, and its tag selects nothing', async () => {
    await open(web, fakeMachine('db', { deployment: { keys: { token: { text: 'x' } } } }))
    ops.ssh.answer(/key/, { kind: 'exited', code: 0, stdout: '', stderr: '' })
    await run({ selection: { on: 'web' } })
    await run({ until: 'create' })
    breakMachine('db')
    const request = { deployment: 'net', selection: {}, maxConcurrent: 2 }
    const sent = await sendKeys(ops, request)
    expect(sent.map(({ machine, outcome }) => [machine, outcome])).toEqual([
      ['web', 'unchanged'],
      ['db', 'failed'],
    ])
    expect(sent[1]?.reason).toContain('tagz')
    const front = await startMachines(ops, { ...request, selection: { on: '@front' } })
    expect(front.map(({ machine }) => machine)).toEqual(['web'])
  })

  it('affects the status of set-up tasks only when it is selected', async () => {
    await open(web, db)
    breakMachine('db')
    expect(await setupStatus(ops, { deployment: 'net', selection: { on: 'web' } })).toEqual([])
    await expect(setupStatus(ops, { deployment: 'net', selection: {} })).rejects.toThrow('tagz')
  })
})

describe('obsolete machines', () => {
  const old = ['old1', 'old2'].map((name) => fakeMachine(name))

  async function shrink() {
    await open(web, ...old)
    await run()
    ops.nix.network = fakeNetwork([web])
  }

  it('are destroyed with -k only when they are selected', async () => {
    await shrink()
    expect(await run({ killObsolete: true, selection: { include: ['web'] } })).toEqual({ web: 'unchanged' })
    expect(await machines()).toEqual(['web', 'old1', 'old2'])
    expect(await run({ killObsolete: true, selection: { exclude: ['old2'] } })).toEqual({
      web: 'unchanged',
      old1: 'changed',
    })
    expect(await run({ killObsolete: true, selection: { on: 'old*' } })).toEqual({ old2: 'changed' })
    expect(await machines()).toEqual(['web'])
  })

  it('are in the plan when they are selected, and kept without -k', async () => {
    await shrink()
    const { plan } = await deploy(ops, { ...standardRequest, dryRun: true, selection: { on: 'old1' } })
    expect(plan.machines).toMatchObject([{ machine: 'old1', items: [{ action: 'destroy' }] }])
    expect(await run({ selection: { on: 'old1' } })).toEqual({})
    expect(await machines()).toContain('old1')
  })
})

describe('--closure', () => {
  const other = fakeStorePath('built-elsewhere')
  const closures = (name: string) => new Map([[MachineName.parse(name), other]])

  it.each([
    ['a mistyped machine', 'wbe', {}, "--closure wbe=…: no machine of the network is called 'wbe'", 'web'],
    [
      'one that is not selected',
      'db',
      { selection: { on: 'web' } },
      "machine 'db' is not selected",
      undefined,
    ],
    ['an obsolete one', 'old', {}, "no machine of the network is called 'old'", undefined],
  ])('is refused for %s before any change', async (_, name, request, message, meant) => {
    await open(web, db, fakeMachine('old'))
    await run({ until: 'create', selection: { on: 'old' } })
    ops.nix.network = fakeNetwork([web, db])
    await expect(run({ ...request, closures: closures(name) })).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining(message),
      ...(meant === undefined ? {} : { hint: `did you mean '${meant}'?` }),
    })
    expect(ops.hypervisor.listing().domains).toHaveLength(1)
  })

  it('records nothing of a closure with unknown contents', async () => {
    const files = { '/etc/web.conf': { hash: 'a', mode: '0644', user: 'root', group: 'root' } }
    await open(fakeMachine('web', { rest: { files } }))
    ops.nix.isBuilt = async () => true
    const { plan } = await deploy(ops, { ...standardRequest, closures: closures('web') })
    expect(plan.machines[0]?.items.map(({ subject }) => subject)).not.toContain('files')
    expect((await ops.store.resolve('net')).machines[web.name]?.deployed).toMatchObject({
      path: other,
      files: {},
    })
    expect(await run()).toEqual({ web: 'changed' })
    expect((await ops.store.resolve('net')).machines[web.name]?.deployed?.files).toEqual({
      '/etc/web.conf': 'a',
    })
  })
})
