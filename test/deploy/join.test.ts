import { afterEach, describe, expect, it } from 'vitest'
import { failure } from '../../src/core/errors.js'
import { MachineName } from '../../src/core/names.js'
import type { SetupTask, TaskMachine, TaskStage } from '../../src/core/setup-task.js'
import { deploy } from '../../src/deploy/deploy.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { fakeTask } from '../fakes/fake-task.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps
afterEach(() => ops.cleanup())

/** Tasks that ran, in order: `MACHINE TASK`, then the text that the task read. */
let done: string[]
/** Tasks whose result is on their machine. */
let present: Set<string>
/** Tasks that fail. */
let broken: Set<string>

/**
 * Creates a task of one machine. The task leaves its result on the machine, and may read outputs of another machine.
 */
function taskOf(
  owner: string,
  id: string,
  stage: TaskStage,
  reads: (machine: TaskMachine) => string = () => '',
  more: Partial<SetupTask<object>> = {},
) {
  const name = `${owner} ${id}`
  return fakeTask(id, {
    stage,
    wanted: (machine) => (machine.definition.name === owner ? { reads: reads(machine) } : undefined),
    probe: async () => (present.has(name) ? 'done' : 'needed'),
    apply: async (_, options) => {
      if (broken.has(name)) throw failure('TASK', `${name} is broken`)
      done.push(`${name} ${'reads' in options ? String(options.reads) : ''}`.trim())
      present.add(name)
      return { made: `${name}!` }
    },
    ...more,
  })
}

function output(machine: TaskMachine, peer: string, task: string): string {
  return machine.peers?.get(MachineName.parse(peer))?.outputs[task]?.made ?? 'nothing'
}

/** Creates a deployment of `b` and `ci`: `ci` creates a key, `b` accepts the key, `ci` uses `b`. */
async function start(tags: { b?: string[]; ci?: string[] } = {}, ordering: string[] = []): Promise<void> {
  done = []
  present = new Set()
  broken = new Set()
  const machines = [
    fakeMachine('b', { deployment: { tags: tags.b ?? [] } }),
    fakeMachine('ci', { deployment: { tags: tags.ci ?? [] } }),
  ]
  ops = await createFakeOps({ network: fakeNetwork(machines, { ordering }) })
  runFakeDebian(ops)
  Object.assign(ops, {
    tasks: async () => [
      taskOf('ci', 'use', 'use', (machine) => output(machine, 'b', 'offer')),
      taskOf('b', 'offer', 'offer', (machine) => output(machine, 'ci', 'key')),
      taskOf('ci', 'key', 'configure'),
      taskOf('b', 'gone', 'withdraw'),
    ],
  })
  await rememberNetwork(ops)
}

const whole = ['ci key', 'b offer ci key!', 'ci use b offer!', 'b gone']

describe('tasks that need other machines', () => {
  it('run in their stages after every machine was deployed, and read what the others made', async () => {
    await start()
    const { results } = await deploy(ops, standardRequest)
    expect(results.map(({ outcome }) => outcome)).toEqual(['changed', 'changed'])
    expect(done).toEqual(whole)
  })

  it('wait for no machine, so that one machine at a time and any order of groups will do', async () => {
    await start({ b: ['first'], ci: ['last'] }, ['first', 'last'])
    await deploy(ops, { ...standardRequest, maxConcurrent: 1 })
    expect(done).toEqual(whole)
  })

  it('contact no machine a second time when nothing changed', async () => {
    await start()
    await deploy(ops, standardRequest)
    const before = ops.ssh.connects.length
    const { results } = await deploy(ops, standardRequest)
    expect(results.map(({ outcome }) => outcome)).toEqual(['unchanged', 'unchanged'])
    expect(done).toEqual(whole)
    expect(ops.ssh.connects.length - before).toBe(2)
  })

  it('run again when their result left the machine, and on that machine alone', async () => {
    await start()
    await deploy(ops, standardRequest)
    present.delete('ci use')
    const { results } = await deploy(ops, standardRequest)
    expect(results.map(({ outcome }) => outcome)).toEqual(['unchanged', 'changed'])
    expect(done).toEqual([...whole, 'ci use b offer!'])
  })

  it('leave out a machine that failed, and later see what it made', async () => {
    await start()
    broken.add('ci key')
    const first = await deploy(ops, standardRequest)
    expect(first.results).toMatchObject([{ outcome: 'changed' }, { outcome: 'failed', stage: 'setup' }])
    expect(done).toEqual(['b offer nothing', 'b gone'])
    broken.clear()
    const second = await deploy(ops, standardRequest)
    expect(second.results.map(({ outcome }) => outcome)).toEqual(['changed', 'changed'])
    expect(done.slice(2)).toEqual(['ci key', 'b offer ci key!', 'ci use b offer!'])
  })

  it('fail their own machine, whose later stages do not begin', async () => {
    await start()
    broken.add('b offer')
    const { results } = await deploy(ops, standardRequest)
    expect(results).toMatchObject([
      {
        machine: 'b',
        outcome: 'failed',
        stage: 'setup',
        reason: expect.stringContaining('b offer is broken'),
      },
      { machine: 'ci', outcome: 'changed' },
    ])
    expect(done).toEqual(['ci key', 'ci use nothing'])
  })

  it('do not run when only a part of the deploy was asked for', async () => {
    await start()
    await deploy(ops, { ...standardRequest, until: 'copy' })
    expect(done).toEqual([])
  })

  it('see the other machines of the state when one machine alone is deployed', async () => {
    await start()
    await deploy(ops, standardRequest)
    present.delete('b offer')
    await deploy(ops, { ...standardRequest, selection: { on: 'b' } })
    expect(done).toEqual([...whole, 'b offer ci key!'])
  })
})
