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
