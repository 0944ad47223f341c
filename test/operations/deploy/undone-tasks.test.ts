import { afterEach, describe, expect, it } from 'vitest'
import { deploy } from '../../../src/operations/deploy/deploy.js'
import { runFakeDebian } from '../../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../../fakes/fake-network.js'
import { createFakeOps, type FakeOps } from '../../fakes/fake-ops.js'
import { fakeTask } from '../../fakes/fake-task.js'
import { standardRequest } from '../../fakes/standard-request.js'

let ops: FakeOps
afterEach(() => ops.cleanup())

type Stage = 'bootstrap' | 'configure'

/** A machine with tasks, whose next activations put back what was there before one of them. */
async function machineWithTasks(stages: Readonly<Record<string, Stage>>) {
  ops = await createFakeOps({ network: fakeNetwork([fakeMachine('web')]) })
  const seen = { undoes: [] as string[], done: new Set<string>(), calls: [] as string[] }
  runFakeDebian(ops, {
    activationCode: () => {
      seen.calls.push('activation')
      for (const id of seen.undoes) seen.done.delete(id)
      return 0
    },
  })
  const tasks = Object.entries(stages).map(([id, stage]) =>
    fakeTask(id, {
      stage,
      probe: async () => {
        seen.calls.push(`probe ${id}`)
        return seen.done.has(id) ? 'done' : { drifted: `the file of ${id} differs` }
      },
      apply: async () => {
        seen.calls.push(`apply ${id}`)
        seen.done.add(id)
        return {}
      },
    }),
  )
  Object.assign(ops, { tasks: async () => tasks })
  ops.store.create({ name: 'net' as never, expressions: ['/net.nix'], searchPath: [], args: {} })
  await deploy(ops, standardRequest)
  seen.calls.length = 0
  return seen
}

const again = { ...standardRequest, alwaysActivate: true }

describe('a task whose file an activation puts back as it was before', () => {
  it.each(['bootstrap', 'configure'] as const)('runs again in the same deploy: one of %s', async (stage) => {
    const seen = await machineWithTasks({ lines: stage })
    seen.undoes = ['lines']
    expect((await deploy(ops, again)).results).toMatchObject([{ outcome: 'changed' }])
    expect(seen.calls.filter((call) => !call.startsWith('probe'))).toEqual(['activation', 'apply lines'])
    expect(seen.done).toEqual(new Set(['lines']))
  })

  it('runs again where another task was to run anyway', async () => {
    const seen = await machineWithTasks({ nix: 'bootstrap', lines: 'configure', other: 'configure' })
    seen.undoes = ['nix', 'lines']
    seen.done.delete('other')
    await deploy(ops, again)
    const applied = seen.calls.filter((call) => call.startsWith('apply'))
    expect(applied[0]).toBe('apply nix')
    expect(applied.slice(1).sort()).toEqual(['apply lines', 'apply other'])
  })

  it('is left alone where its file stays', async () => {
    const seen = await machineWithTasks({ nix: 'bootstrap', lines: 'configure' })
    await deploy(ops, again)
    expect(seen.calls.filter((call) => call.startsWith('apply'))).toEqual([])
  })

  it('is not looked at twice where nothing was activated', async () => {
    const seen = await machineWithTasks({ lines: 'configure' })
    await deploy(ops, standardRequest)
    expect(seen.calls).toEqual(['probe lines'])
  })
})
