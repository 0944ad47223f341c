import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DebianMachine, type MachineDefinition } from '../../src/core/definition.js'
import { deploy } from '../../src/deploy/deploy.js'
import { sendKeys } from '../../src/operations/send-keys.js'
import { setupStatus } from '../../src/operations/setup.js'
import { type FakeDebianOptions, runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork, fakeStorePath } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { exit, succeed, surveyOf } from '../fakes/fake-ssh.js'
import { fakeTask } from '../fakes/fake-task.js'
import { linesOf } from '../fakes/script-values.js'
import { standardRequest as standard } from '../fakes/standard-request.js'
import { stateTextIn } from '../fakes/state-text.js'

let ops: FakeOps

async function open(machines: readonly MachineDefinition[], debian: FakeDebianOptions = {}) {
  ops = await createFakeOps({ network: fakeNetwork(machines) })
  runFakeDebian(ops, debian)
  await rememberNetwork(ops)
}

function outcomes(report: Awaited<ReturnType<typeof deploy>>): Record<string, string> {
  return Object.fromEntries(report.results.map((row) => [row.machine, row.outcome]))
}

async function stateText(): Promise<string> {
  const { uuid } = await ops.store.resolve('net')
  return stateTextIn(ops.files.paths(uuid).root)
}

describe('deploy', () => {
  beforeEach(() => open([fakeMachine('web'), fakeMachine('db')]))
  afterEach(() => ops.cleanup())

  it('makes, starts and activates every machine, and records the result', async () => {
    const report = await deploy(ops, standard)
    expect(outcomes(report)).toEqual({ web: 'changed', db: 'changed' })
    expect(ops.hypervisor.listing().running).toHaveLength(2)
    const { machines } = await ops.store.resolve('net')
    for (const machine of Object.values(machines)) {
      expect(machine.deployed?.path).toMatch(/^\/nix\/store\//)
      expect(machine.intent).toBeUndefined()
      expect(machine.activation).toBeUndefined()
      expect(machine.lastResult).toBe('changed')
    }
  })

  it('records the facts that it saw on a machine, and the version that the task nix found', async () => {
    const nix = fakeTask('nix', {
      stage: 'bootstrap',
      apply: async () => ({ version: '2.8.0' }),
    })
    Object.assign(ops, { tasks: async () => [nix] })
    expect(outcomes(await deploy(ops, standard))).toEqual({ web: 'changed', db: 'changed' })
    expect((await ops.store.resolve('net')).machines['web' as never]?.facts).toMatchObject({
      nixVersion: '2.8.0',
      bootId: expect.any(String),
    })
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

  it('keeps the allocations when the options of a provider stand in another order', async () => {
    await deploy(ops, standard)
    const web = fakeMachine('web')
    const reversed = Object.fromEntries(Object.entries(Object(web.provider)).reverse())
    ops.nix.network = fakeNetwork([{ ...web, provider: DebianMachine.shape.provider.parse(reversed) }])
    Object.assign(ops.store, { allocating: () => Promise.reject(new Error('it was allocated anew')) })
    expect(outcomes(await deploy(ops, standard))).toEqual({ web: 'unchanged' })
  })

  it('looks at no more machines at once than it is allowed to', async () => {
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
    const before = await stateText()
    const report = await deploy(ops, { ...standard, dryRun: true })
    expect(report.plan.machines.map((machine) => machine.items[0]?.action)).toEqual(['create', 'create'])
    expect(await stateText()).toBe(before)
    expect(ops.hypervisor.listing().domains).toEqual([])
    expect(ops.nix.evaluations.every((evaluation) => evaluation.mode !== 'write')).toBe(true)
    expect(ops.nix.builds).toEqual([])
    const { uuid } = await ops.store.resolve('net')
    expect(existsSync(ops.secrets.of(uuid).place)).toBe(false)
  })

  it('reports an unplannable machine in a dry run, beside the plan of the others', async () => {
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

  it('refuses in a dry run the same as in a deploy', async () => {
    await deploy(ops, standard)
    ops.nix.network = fakeNetwork([fakeMachine('web', { fake: { diskSize: 5 } }), fakeMachine('db')])
    for (const dryRun of [true, false]) {
      await expect(deploy(ops, { ...standard, dryRun })).rejects.toMatchObject({
        exitCode: 2,
        message: expect.stringContaining('cannot shrink'),
      })
    }
  })

  it('keeps the running closures apart from the merely built ones in the GC roots', async () => {
    await deploy(ops, standard)
    ops.nix.brokenCopies.add('web')
    ops.nix.network = fakeNetwork([fakeMachine('web', { version: 'v2' })])
    await deploy(ops, standard)
    const running = ops.nix.roots.filter(({ name }) => name === 'web').map(({ path }) => path)
    expect(running).toEqual([fakeStorePath('web-v1')])
    expect(ops.nix.roots.filter(({ name }) => name === 'web+built')).toHaveLength(2)
  })

  it('verifies the copied paths after a power cut, also when another closure is wanted by now', async () => {
    ops.nix.brokenCopies.add('web')
    await deploy(ops, standard)
    ops.nix.brokenCopies.clear()
    ops.nix.network = fakeNetwork([fakeMachine('web', { version: 'v2' })])
    ops.ssh.answer('read the facts of the machine', surveyOf({ boot_id: 'boot-2' }))
    expect(outcomes(await deploy(ops, standard))).toEqual({ web: 'changed' })
    expect(ops.nix.verified).toEqual([{ machine: 'web', path: fakeStorePath('web-v1') }])
    expect(ops.nix.repairs).toEqual([{ machine: 'web', path: fakeStorePath('web-v2') }])
    expect((await ops.store.resolve('net')).machines['web' as never]?.unfinishedCopy).toBeUndefined()
  })

  it('names the file when the configuration for nix-copy-closure cannot be written', async () => {
    const { uuid } = await ops.store.resolve('net')
    mkdirSync(join(ops.files.paths(uuid).ssh, 'web.config'), { recursive: true })
    const report = await deploy(ops, standard)
    expect(outcomes(report)).toEqual({ web: 'failed', db: 'changed' })
    const row = report.results.find(({ machine }) => machine === 'web')
    expect(row).toMatchObject({ stage: 'copy', reason: expect.stringContaining('cannot write') })
    expect(row?.hint ?? '').not.toContain('bug')
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

  it('finishes the others when one machine fails, and --retry-failed takes up only the failed machine', async () => {
    ops.nix.brokenCopies.add('db')
    expect(outcomes(await deploy(ops, standard))).toEqual({ web: 'changed', db: 'failed' })
    ops.nix.brokenCopies.clear()
    expect(outcomes(await deploy(ops, { ...standard, retryFailed: true }))).toEqual({ db: 'changed' })
  })

  it('takes up with --retry-failed also machines that failed to be inspected or, with --keep-going, to build', async () => {
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

  it('remembers a failed inspection also when another machine does not build', async () => {
    await deploy(ops, standard)
    ops.ssh.hostKeys.set('web', 'another key')
    ops.nix.brokenBuilds.add('db')
    await expect(deploy(ops, standard)).rejects.toThrow("machine 'db' does not build")
    const { machines } = await ops.store.resolve('net')
    expect(Object.values(machines).map(({ lastResult }) => lastResult)).toEqual(['failed', 'failed'])
  })

  it('does not mistake the success of a partial deploy for success of the whole', async () => {
    await deploy(ops, standard)
    ops.nix.brokenCopies.add('db')
    ops.nix.network = fakeNetwork([fakeMachine('web'), fakeMachine('db', { version: 'v2' })])
    await deploy(ops, standard)
    for (const until of ['build', 'create'] as const) await deploy(ops, { ...standard, until })
    expect(outcomes(await deploy(ops, { ...standard, retryFailed: true }))).toEqual({ db: 'failed' })
  })

  it('destroys an obsolete machine only on request', async () => {
    await deploy(ops, standard)
    ops.nix.network = fakeNetwork([fakeMachine('web')])
    await deploy(ops, standard)
    expect((await ops.store.resolve('net')).machines['db' as never]?.obsolete).toBe(true)
    expect(ops.hypervisor.listing().domains).toHaveLength(2)
    await deploy(ops, { ...standard, killObsolete: true })
    expect(Object.keys((await ops.store.resolve('net')).machines)).toEqual(['web'])
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

describe('deploy to a machine that another deployment was activated on', () => {
  const other = '0b6f3a4e-6f0c-4d51-9f3e-2a1f5f7c1a01'

  beforeEach(() => open([fakeMachine('web')]))
  afterEach(() => ops.cleanup())

  function ownedBy(owner: string): void {
    ops.ssh.answer('read the facts of the machine', surveyOf({ owner }))
  }

  it('is refused before any change, with the owner, the file and the way out', async () => {
    ownedBy(other)
    for (const attempt of ['seen after it was started', 'seen before the plan']) {
      const report = await deploy(ops, standard)
      expect({ attempt, ...report.results[0] }).toMatchObject({ attempt, outcome: 'failed' })
      expect(report.results[0]?.reason).toContain(other)
      expect(report.results[0]?.hint).toContain('hydra-ops ssh web -- rm /var/lib/hydra-ops/owner')
    }
    expect(new Set(ops.ssh.execs.map(({ what }) => what))).toEqual(new Set(['read the facts of the machine']))
    expect(ops.nix.copies).toEqual([])
  })

  it('is refused to send-keys as well', async () => {
    await deploy(ops, standard)
    ownedBy(other)
    const [sent] = await sendKeys(ops, { deployment: 'net', selection: {}, maxConcurrent: 1 })
    expect(sent).toMatchObject({ outcome: 'failed', reason: expect.stringContaining(other) })
  })

  it('goes on when the owner is this deployment, and takes over when no owner is recorded', async () => {
    await deploy(ops, standard)
    const started = ops.ssh.execs.find(({ what }) => what === 'start the activation')
    expect(linesOf(started?.values.options)).toContain((await ops.store.resolve('net')).uuid)
    expect(outcomes(await deploy(ops, { ...standard, alwaysActivate: true }))).toEqual({ web: 'changed' })
    ownedBy('')
    expect(outcomes(await deploy(ops, { ...standard, alwaysActivate: true }))).toEqual({ web: 'changed' })
  })
})

describe('deploy to a machine that runs another system', () => {
  beforeEach(() => open([fakeMachine('web', { deployment: { aptPackages: ['nix-bin'] } })]))
  afterEach(() => ops.cleanup())

  it('names the other system instead of the failures that it caused', async () => {
    ops.ssh.answer('read the facts of the machine', surveyOf({ systems: 'alpine', os: 'Alpine Linux v3.20' }))
    ops.ssh.answer('read which packages are installed', exit(127, 'dpkg-query: not found'))
    for (const attempt of ['seen after it was started', 'seen before the plan']) {
      const [row] = (await deploy(ops, standard)).results
      expect({ attempt, ...row }).toMatchObject({ attempt, outcome: 'failed' })
      expect(row?.reason).toContain('runs Alpine Linux v3.20 (ID=alpine')
    }
    expect(ops.ssh.execs.map(({ what }) => what)).toContain('read which packages are installed')
    expect(ops.nix.copies).toEqual([])
  })

  it('goes on when the ID_LIKE of that system names Debian or Ubuntu', async () => {
    ops.ssh.answer('read the facts of the machine', surveyOf({ systems: 'linuxmint ubuntu debian' }))
    expect(outcomes(await deploy(ops, standard))).toEqual({ web: 'changed' })
  })

  it('reports any other failure of the look unchanged', async () => {
    ops.ssh.answer('read the facts of the machine', exit(1, 'no disk'))
    const [row] = (await deploy(ops, standard)).results
    expect(row).toMatchObject({ outcome: 'failed', reason: expect.stringContaining('read the facts') })
  })
})

describe('deploy of machines with a failing activation', () => {
  afterEach(() => ops.cleanup())

  it('follows an activation of an earlier run to its end, and does not repeat it', async () => {
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

  it('starts no second activation before the activation of an earlier run has ended', async () => {
    await open([fakeMachine('web')], { slow: true })
    ops.ssh.answer('follow the activation', () => {
      throw new Error('as if it were killed here')
    })
    await deploy(ops, standard)
    ops.ssh.answer('follow the activation', ({ values: { unit } }) =>
      succeed(`state LoadState=loaded\nstate Id=${unit}\nstate ActiveState=active\nstate SubState=running\n`),
    )
    const [row] = (await deploy(ops, standard)).results
    expect(row).toMatchObject({
      outcome: 'failed',
      reason: expect.stringContaining('continues on the machine'),
    })
    expect(ops.ssh.execs.filter((exec) => exec.what === 'start the activation')).toHaveLength(1)
    runFakeDebian(ops, { slow: true })
    expect(outcomes(await deploy(ops, standard))).toEqual({ web: 'changed' })
  })

  it('calls a machine degraded when units failed, with the end of their journal', async () => {
    await open([fakeMachine('web')], { activationCode: () => 4, units: ['web.service'] })
    const report = await deploy(ops, standard)
    expect(report.results[0]).toMatchObject({ outcome: 'degraded', stage: 'activate' })
    expect(report.results[0]?.reason).toContain('web.service')
    expect(report.results[0]?.evidence).toContain('unit said this')
    expect((await ops.store.resolve('net')).machines['web' as never]?.deployed).toBeUndefined()
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
