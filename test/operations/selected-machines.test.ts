import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { failure } from '../../src/core/errors.js'
import { destroyMachines } from '../../src/operations/destroy.js'
import { stopMachines } from '../../src/operations/power.js'
import { type Deployed, deployed } from './deployed.js'

let world: Deployed
beforeEach(async () => {
  world = await deployed()
})
afterEach(() => world.ops.cleanup())

const request = { deployment: undefined, maxConcurrent: 2 }
const machines = async () => Object.keys((await world.ops.store.resolve(undefined)).machines)

describe('verbs that use the state', () => {
  it('select by tag with the network expression’s help', async () => {
    const stopped = await stopMachines(world.ops, { ...request, selection: { on: '@front' }, graceMs: 1000 })
    expect(stopped.map((result) => result.machine)).toEqual(['web'])
    await destroyMachines(world.ops, { ...request, selection: { on: '!@front' }, yes: true })
    expect(await machines()).toEqual(['web'])
    expect(world.ops.nix.evaluations.map((evaluation) => evaluation.mode)).toEqual(['shape', 'shape'])
  })

  it('need no expression when names are enough', async () => {
    await destroyMachines(world.ops, { ...request, selection: { on: 'w*' }, yes: true })
    expect(await machines()).toEqual(['db'])
    expect(world.ops.nix.evaluations).toEqual([])
  })

  it('touch nothing when a tag is mistyped', async () => {
    const mistyped = { ...request, selection: { on: '@fronz' }, yes: true }
    await expect(destroyMachines(world.ops, mistyped)).rejects.toMatchObject({
      exitCode: 2,
      hint: "did you mean '@front'?",
    })
    expect(await machines()).toEqual(['web', 'db'])
  })

  it('count each machine in the history, also one without work, and the failed among them', async () => {
    const { hypervisor, store } = world.ops
    const [web, db] = ['web', 'db'].map(world.resourceName) as [string, string]
    hypervisor.stop(web)
    const domain = hypervisor.domain(db)
    if (domain === undefined) throw new Error('db has no domain')
    hypervisor.define(db, { ...domain, owner: 'somebody-else' })
    const stop = () => stopMachines(world.ops, { ...request, selection: {}, graceMs: 1000 })
    expect((await stop()).map(({ outcome }) => outcome)).toEqual(['unchanged', 'failed'])
    hypervisor.define(db, domain)
    expect((await stop()).map(({ outcome }) => outcome)).toEqual(['unchanged', 'changed'])
    const { uuid } = await store.resolve(undefined)
    const ends = (await store.history(uuid)).filter(({ event }) => event === 'stop.end')
    expect(ends.map(({ result }) => result)).toEqual(['failed on 1 of 2 machines', 'done'])
  })

  it('leave the reason in the history when the whole verb failed', async () => {
    const { events, store } = world.ops
    events.emit = () => {
      throw failure('SCREEN', 'the screen is gone')
    }
    const stopping = stopMachines(world.ops, { ...request, selection: { on: 'web' }, graceMs: 1000 })
    await expect(stopping).rejects.toThrow('the screen is gone')
    const { uuid } = await store.resolve(undefined)
    expect((await store.history(uuid)).at(-1)).toMatchObject({
      event: 'stop.end',
      result: 'the screen is gone',
    })
  })
})
