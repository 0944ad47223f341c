import { writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { usageError } from '../../src/core/errors.js'
import { MachineName } from '../../src/core/names.js'
import { checkMachines, checkStatus, readLook } from '../../src/operations/check.js'
import { type FakeOps, fakeRegistry } from '../fakes/fake-ops.js'
import { succeed } from '../fakes/fake-ssh.js'
import { type Deployed, deployed } from './deployed.js'

let world: Deployed
let ops: FakeOps

beforeEach(async () => {
  world = await deployed()
  ops = world.ops
})
afterEach(() => ops.cleanup())

describe('check', () => {
  const look = (inside: string) => ops.ssh.answer('look at disks and units', succeed(inside))
  const healthy = 'load 0.00 0.01 0.05\ndisk 12 /\nunits\n'
  const check = (on?: string) => checkMachines(ops, { deployment: undefined, selection: { on } })

  it('finds no fault on healthy machines', async () => {
    look(healthy)
    const before = world.stateText()
    const report = await check()
    expect(report).toEqual({
      machines: ['db', 'web'].map((name) => ({
        name,
        exists: true,
        up: true,
        reachable: true,
        disksOk: true,
        load: '0.00 0.01 0.05',
        failedUnits: [],
        notes: [],
        stoppedOnPurpose: false,
      })),
      orphans: [],
      problems: [],
    })
    expect(checkStatus(report)).toBe(0)
    expect(world.stateText()).toBe(before)
  })

  it('needs no root on the machines', async () => {
    look(healthy)
    ops.ssh.sudoless.add('web')
    expect((await check('web')).machines[0]).toMatchObject({
      reachable: true,
      load: '0.00 0.01 0.05',
      notes: [],
    })
  })

  it('adds up the faults as NixOps does', async () => {
    ops.ssh.answer('look at disks and units', ({ machine: name }) =>
      succeed(name === 'db' ? 'load 9 9 9\ndisk 97 /nix\nunits\nfailed nginx.service\n' : healthy),
    )
    const report = await check()
    expect(report.machines[0]).toMatchObject({
      disksOk: false,
      failedUnits: ['nginx.service'],
      notes: ['/nix is 97 % full'],
    })
    expect(checkStatus(report)).toBe(8 + 16)
    ops.hypervisor.undefine(world.resourceName('web'))
    expect(checkStatus(await check())).toBe(1 + 8 + 16)
    expect(checkStatus(await check('web'))).toBe(1)
  })

  it('distinguishes a machine that is down from a machine that was stopped on purpose', async () => {
    look(healthy)
    ops.hypervisor.stop(world.resourceName('web'))
    expect(checkStatus(await check('web'))).toBe(2)
    await world.change('web', { stoppedOnPurpose: true })
    expect(checkStatus(await check('web'))).toBe(0)
  })

  it('returns 4 for a machine that does not answer, or that cannot be asked about', async () => {
    ops.ssh.connect = async () => {
      throw usageError('host key changed')
    }
    const report = await check('web')
    expect(report.machines[0]).toMatchObject({ reachable: false, notes: ['host key changed'] })
    expect(checkStatus(report)).toBe(4)
    Object.assign(ops, { providers: fakeRegistry([]) })
    expect(checkStatus(await check('web'))).toBe(4)
  })

  it('recognises a failing systemd, a machine without systemd, and a read-only root', () => {
    expect(readLook('load 1 1 1\ndisk 10 /\n')).toMatchObject({ failedUnits: undefined, disksOk: true })
    expect(readLook('load 1 1 1\nreadonly /\nunits\n')).toMatchObject({
      disksOk: false,
      notes: ['/ is mounted read-only'],
    })
  })

  it('reports the last automatic update, and ignores a damaged result', () => {
    const last = { at: '2026-11-29T04:40:00Z', result: 'went-back', message: 'evaluation 12: it failed' }
    const seen = readLook(`load 1 1 1\ndisk 10 /\nauto-update ${JSON.stringify({ ...last, known: {} })}\n`)
    expect(seen).toMatchObject({
      autoUpdate: last,
      notes: ['automatic update of 2026-11-29T04:40:00Z: went-back: evaluation 12: it failed'],
    })
    expect(readLook('load 1 1 1\nauto-update {"at":\n')).toMatchObject({ notes: [] })
    expect(readLook('load 1 1 1\nauto-update {"at":"x","result":"odd","message":""}\n').notes).toEqual([])
  })

  it('lists resources with our mark that belong to no deployment', async () => {
    look(healthy)
    const { uuid } = await ops.store.resolve(undefined)
    await ops.store.lock(uuid, async (held) => held.removeMachine(MachineName.parse('db')))
    expect((await check()).orphans).toEqual([
      { name: world.resourceName('db'), deployment: uuid, machine: 'db' },
    ])
  })

  it('reports no orphan while a state cannot be read', async () => {
    look(healthy)
    const other = await ops.store.create({
      name: undefined,
      expressions: ['/o.nix'],
      searchPath: [],
      args: {},
    })
    const first = (await ops.store.list()).find((record) => record.uuid !== other.uuid)
    writeFileSync(`${ops.files.paths(other.uuid).root}/state.json`, '{')
    const report = await checkMachines(ops, { deployment: first?.uuid, selection: {} })
    expect(report.orphans).toEqual([])
    expect(report.problems).toHaveLength(1)
  })
})
