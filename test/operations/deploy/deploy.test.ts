import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { MachineDefinition } from '../../../src/core/definition.js'
import { deploy } from '../../../src/operations/deploy/deploy.js'
import { setupStatus } from '../../../src/operations/setup.js'
import { type FakeDebianOptions, runFakeDebian } from '../../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork, fakeStorePath } from '../../fakes/fake-network.js'
import { createFakeOps, type FakeOps } from '../../fakes/fake-ops.js'
import { standardRequest as standard } from '../../fakes/standard-request.js'

let ops: FakeOps

async function open(machines: readonly MachineDefinition[], debian: FakeDebianOptions = {}) {
  ops = await createFakeOps({ network: fakeNetwork(machines) })
  runFakeDebian(ops, debian)
  ops.store.create({ name: 'net' as never, expressions: ['/net.nix'], searchPath: [], args: {} })
}

function outcomes(report: Awaited<ReturnType<typeof deploy>>): Record<string, string> {
  return Object.fromEntries(report.results.map((row) => [row.machine, row.outcome]))
}

function stateText(): string {
  const { uuid } = ops.store.resolve('net')
  return readFileSync(join(ops.store.paths(uuid).root, 'state.json'), 'utf8')
}

describe('deploy', () => {
  beforeEach(() => open([fakeMachine('web'), fakeMachine('db')]))
  afterEach(() => ops.cleanup())

  it('makes, starts and activates every machine, and records what it deployed', async () => {
    const report = await deploy(ops, standard)
    expect(outcomes(report)).toEqual({ web: 'changed', db: 'changed' })
    expect(ops.hypervisor.listing().running).toHaveLength(2)
    const { machines } = ops.store.resolve('net')
    for (const machine of Object.values(machines)) {
      expect(machine.deployed?.path).toMatch(/^\/nix\/store\//)
      expect(machine.intent).toBeUndefined()
      expect(machine.activation).toBeUndefined()
      expect(machine.lastResult).toBe('changed')
    }
  })

  it('evaluates once, connects once to each machine and changes nothing the second time', async () => {
    await deploy(ops, standard)
    const before = ops.ssh.connects.length
    const evaluations = ops.nix.evaluations.length
    const report = await deploy(ops, standard)
    expect(outcomes(report)).toEqual({ web: 'unchanged', db: 'unchanged' })
    expect(ops.ssh.connects.length - before).toBe(2)
    expect(ops.nix.evaluations.length - evaluations).toBe(1)
    expect(ops.ssh.execs.slice(-30).filter((exec) => exec.what === 'start the activation').length).toBe(2)
    expect(ops.nix.copies).toHaveLength(2)
  })

  it('looks at no more machines at once than it was told to', async () => {
    await deploy(ops, standard)
    const { connect } = ops.ssh
    let open = 0
    let most = 0
    ops.ssh.connect = async (...given) => {
      open += 1
      most = Math.max(most, open)
      for (let turn = 0; turn < 100; turn += 1) await Promise.resolve()
      open -= 1
      return connect(...given)
    }
    await deploy(ops, { ...standard, dryRun: true, maxConcurrent: 1 })
    await setupStatus(ops, { deployment: 'net', selection: {}, maxConcurrent: 1 })
    expect(most).toBe(1)
    await deploy(ops, { ...standard, dryRun: true, maxConcurrent: 2 })
    expect(most).toBe(2)
  })

  it('writes nothing in a dry run, not even allocations', async () => {
    const before = stateText()
    const report = await deploy(ops, { ...standard, dryRun: true })
    expect(report.plan.machines.map((machine) => machine.items[0]?.action)).toEqual(['create', 'create'])
    expect(stateText()).toBe(before)
    expect(ops.hypervisor.listing().domains).toEqual([])
    expect(ops.nix.evaluations.every((evaluation) => evaluation.mode !== 'write')).toBe(true)
    expect(ops.nix.builds).toEqual([])
    const { uuid } = ops.store.resolve('net')
    expect(existsSync(ops.store.paths(uuid).keys)).toBe(false)
  })

  it('tells in a dry run of the machine that could not be planned, beside the plan of the others', async () => {
    await deploy(ops, standard)
    ops.ssh.hostKeys.set('web', 'another key')
    ops.nix.network = fakeNetwork([fakeMachine('web'), fakeMachine('db', { version: 'v2' })])
    const { plan, results } = await deploy(ops, { ...standard, dryRun: true })
    expect(results).toMatchObject([{ machine: 'web', outcome: 'failed', stage: 'inspect' }])
    expect(plan.machines).toMatchObject([
      { machine: 'web', items: [], unknown: expect.stringContaining('host key changed') },
      { machine: 'db', items: [{ subject: 'closure' }] },
    ])
  })

  it('refuses in a dry run what a deploy refuses', async () => {
    await deploy(ops, standard)
    ops.nix.network = fakeNetwork([fakeMachine('web', { fake: { diskSize: 5 } }), fakeMachine('db')])
    for (const dryRun of [true, false]) {
      await expect(deploy(ops, { ...standard, dryRun })).rejects.toMatchObject({
        exitCode: 2,
        message: expect.stringContaining('cannot shrink'),
      })
    }
  })

  it('keeps what runs from being collected apart from what was only built', async () => {
    await deploy(ops, standard)
    ops.nix.brokenCopies.add('web')
    ops.nix.network = fakeNetwork([fakeMachine('web', { version: 'v2' })])
    await deploy(ops, standard)
    const running = ops.nix.roots.filter(({ name }) => name === 'web').map(({ path }) => path)
    expect(running).toEqual([fakeStorePath('web-v1')])
    expect(ops.nix.roots.filter(({ name }) => name === 'web+built')).toHaveLength(2)
  })

  it('touches no machine when one of them does not build', async () => {
    ops.nix.brokenBuilds.add('db')
    await expect(deploy(ops, standard)).rejects.toThrow("machine 'db' does not build")
    expect(ops.hypervisor.listing().domains).toEqual([])
  })

  it('deploys the others with --keep-going when one does not build', async () => {
    ops.nix.brokenBuilds.add('db')
    const report = await deploy(ops, { ...standard, keepGoing: true })
    expect(outcomes(report)).toEqual({ web: 'changed', db: 'failed' })
  })

  it('finishes the others when one machine fails, and takes up only that one with --retry-failed', async () => {
    ops.nix.brokenCopies.add('db')
    expect(outcomes(await deploy(ops, standard))).toEqual({ web: 'changed', db: 'failed' })
    ops.nix.brokenCopies.clear()
    expect(outcomes(await deploy(ops, { ...standard, retryFailed: true }))).toEqual({ db: 'changed' })
  })

  it('takes up with --retry-failed also what failed to be inspected or, with --keep-going, to build', async () => {
    await open([fakeMachine('web'), fakeMachine('db'), fakeMachine('app')])
    await deploy(ops, standard)
    ops.ssh.hostKeys.set('web', 'another key')
    ops.nix.brokenBuilds.add('db')
    const broken = await deploy(ops, { ...standard, keepGoing: true })
    expect(outcomes(broken)).toEqual({ web: 'failed', db: 'failed', app: 'unchanged' })
    ops.ssh.hostKeys.clear()
    ops.nix.brokenBuilds.clear()
    expect(outcomes(await deploy(ops, { ...standard, retryFailed: true }))).toEqual({
      web: 'unchanged',
      db: 'unchanged',
    })
    expect(outcomes(await deploy(ops, { ...standard, retryFailed: true }))).toEqual({})
  })

  it('remembers what failed to be inspected also when another machine does not build', async () => {
    await deploy(ops, standard)
    ops.ssh.hostKeys.set('web', 'another key')
    ops.nix.brokenBuilds.add('db')
    await expect(deploy(ops, standard)).rejects.toThrow("machine 'db' does not build")
    const { machines } = ops.store.resolve('net')
    expect(Object.values(machines).map(({ lastResult }) => lastResult)).toEqual(['failed', 'failed'])
  })

  it('does not take a part of a deploy that went well for the whole', async () => {
    await deploy(ops, standard)
    ops.nix.brokenCopies.add('db')
    ops.nix.network = fakeNetwork([fakeMachine('web'), fakeMachine('db', { version: 'v2' })])
    await deploy(ops, standard)
    for (const until of ['build', 'create'] as const) await deploy(ops, { ...standard, until })
    expect(outcomes(await deploy(ops, { ...standard, retryFailed: true }))).toEqual({ db: 'failed' })
  })

  it('destroys an obsolete machine only when told to', async () => {
    await deploy(ops, standard)
    ops.nix.network = fakeNetwork([fakeMachine('web')])
    await deploy(ops, standard)
    expect(ops.store.resolve('net').machines['db' as never]?.obsolete).toBe(true)
    expect(ops.hypervisor.listing().domains).toHaveLength(2)
    await deploy(ops, { ...standard, killObsolete: true })
    expect(Object.keys(ops.store.resolve('net').machines)).toEqual(['web'])
    expect(ops.hypervisor.listing().domains).toHaveLength(1)
  })

  it('asks before it destroys, and does nothing when the answer is no', async () => {
    await deploy(ops, standard)
    ops.nix.network = fakeNetwork([fakeMachine('web')])
    ops.answerTo = false
    await expect(deploy(ops, { ...standard, killObsolete: true, yes: false })).rejects.toThrow(
      'nothing was changed',
    )
    expect(ops.hypervisor.listing().domains).toHaveLength(2)
  })
})

describe('deploy of machines whose activation fails', () => {
  afterEach(() => ops.cleanup())

  it('follows an activation that an earlier run left to its end, and does not repeat it', async () => {
    await open([fakeMachine('web'), fakeMachine('db')], { slow: true })
    ops.ssh.answer('follow the activation', () => {
      throw new Error('as if it were killed here')
    })
    expect(outcomes(await deploy(ops, standard))).toEqual({ web: 'failed', db: 'failed' })
    runFakeDebian(ops, { slow: true })
    expect(outcomes(await deploy(ops, standard))).toEqual({ web: 'changed', db: 'changed' })
    expect(ops.ssh.execs.filter((exec) => exec.what === 'start the activation')).toHaveLength(2)
    expect(outcomes(await deploy(ops, standard))).toEqual({ web: 'unchanged', db: 'unchanged' })
  })

  it('calls a machine degraded when units failed, with the end of their journal', async () => {
    await open([fakeMachine('web')], { activationCode: () => 4, units: ['web.service'] })
    const report = await deploy(ops, standard)
    expect(report.results[0]).toMatchObject({ outcome: 'degraded', stage: 'activate' })
    expect(report.results[0]?.reason).toContain('web.service')
    expect(report.results[0]?.evidence).toContain('unit said this')
    expect(ops.store.resolve('net').machines['web' as never]?.deployed).toBeUndefined()
  })

  it('works on the machines of an earlier tag first', async () => {
    await open([
      fakeMachine('app', { deployment: { tags: ['late'] } }),
      fakeMachine('db', { deployment: { tags: ['early'] } }),
    ])
    ops.nix.network = fakeNetwork([...ops.nix.network.machines.values()], { ordering: ['early', 'late'] })
    await deploy(ops, standard)
    expect(ops.nix.copies.map((copy) => copy.machine)).toEqual(['db', 'app'])
  })
})
