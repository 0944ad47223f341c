import { afterEach, describe, expect, it } from 'vitest'
import { failure } from '../../src/core/errors.js'
import { deploy } from '../../src/deploy/deploy.js'
import { type FakeDebianOptions, runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { fakeTask } from '../fakes/fake-task.js'
import { linesOf } from '../fakes/script-values.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps
afterEach(() => ops.cleanup())

/** Creates a new machine whose task `users` creates the owner of a file in the closure. */
async function machineWithTask(
  task: { done: boolean; apply(): void },
  debian: FakeDebianOptions = {},
): Promise<void> {
  ops = await createFakeOps({ network: fakeNetwork([fakeMachine('web')]) })
  // The activation program exits with 6 before the tasks while the user is missing, and with 1 after them.
  runFakeDebian(ops, {
    activationCode: () => (task.done ? 0 : activations().at(-1)?.early === true ? 6 : 1),
    ...debian,
  })
  const users = fakeTask('users', {
    probe: async () => (task.done ? 'done' : 'needed'),
    apply: async () => {
      task.apply()
      return {}
    },
  })
  Object.assign(ops, { tasks: async () => [users] })
  await rememberNetwork(ops)
}

function activations(): { early: boolean; always: boolean; unit: string | undefined }[] {
  return ops.ssh.execs
    .filter(({ what }) => what === 'start the activation')
    .map(({ values }) => ({
      early: linesOf(values.options).includes('--before-tasks'),
      always: linesOf(values.options).includes('--always'),
      unit: values.unit,
    }))
}

describe('a file whose owner a set-up task creates', () => {
  it('is placed by a second activation after the task at the first deploy', async () => {
    const task = { done: false, apply: () => Object.assign(task, { done: true }) }
    await machineWithTask(task)
    const { results } = await deploy(ops, standardRequest)
    expect(results).toMatchObject([{ outcome: 'changed' }])
    expect(activations().map(({ early }) => early)).toEqual([true, false])
    expect(new Set(activations().map(({ unit }) => unit)).size).toBe(2)
    expect((await deploy(ops, standardRequest)).results).toMatchObject([{ outcome: 'unchanged' }])
    expect(activations()).toHaveLength(2)
  })

  it('waits for the next deploy when the task failed', async () => {
    let broken = true
    const task = {
      done: false,
      apply: () => {
        if (broken) throw failure('TASK', 'out of users')
        task.done = true
      },
    }
    await machineWithTask(task)
    const { results } = await deploy(ops, standardRequest)
    expect(results).toMatchObject([{ outcome: 'failed', stage: 'setup' }])
    expect(activations().map(({ early }) => early)).toEqual([true])
    broken = false
    expect((await deploy(ops, standardRequest)).results).toMatchObject([{ outcome: 'changed' }])
    expect(activations().map(({ early }) => early)).toEqual([true, true, false])
  })

  it('is an error when the task did not create the owner', async () => {
    await machineWithTask({ done: false, apply: () => {} })
    const { results } = await deploy(ops, standardRequest)
    expect(results).toMatchObject([
      { outcome: 'failed', stage: 'activate', reason: "machine 'web': the activation ended with status 1" },
    ])
  })

  it('must have its owner already when no task is to run', async () => {
    await machineWithTask({ done: true, apply: () => {} })
    Object.assign(ops, { tasks: async () => [] })
    await deploy(ops, standardRequest)
    expect(activations().map(({ early }) => early)).toEqual([false])
  })
})

describe('an activation that leaves work to the activation after the tasks', () => {
  const outOfUsers = () => {
    throw failure('TASK', 'out of users', { hint: 'fix the users' })
  }

  it('reports waiting files, failed units and their journal when a task fails', async () => {
    await machineWithTask(
      { done: false, apply: outOfUsers },
      {
        units: ['bad.service'],
        says: [
          'file /etc/b written',
          'unit bad.service failed (exit-code)',
          'waiting for their owner: file /etc/a, unit theirs.service',
          'failed before the set-up tasks: unit bad.service',
          'result 6 bad.service',
        ],
      },
    )
    const { results } = await deploy(ops, standardRequest)
    expect(results).toMatchObject([
      {
        outcome: 'failed',
        stage: 'setup',
        reason:
          "machine 'web': set-up failed: users: out of users; waiting for their owner: file /etc/a, unit theirs.service; failed before the set-up tasks: unit bad.service",
        hint: 'fix the users',
        evidence: expect.arrayContaining(['unit said this']),
      },
    ])
  })

  it('adds nothing to the reason of a failed task when it left no work', async () => {
    await machineWithTask({ done: false, apply: outOfUsers }, { activationCode: () => 0, says: ['result 0'] })
    const { results } = await deploy(ops, standardRequest)
    expect(results).toMatchObject([{ reason: "machine 'web': set-up failed: users: out of users" }])
  })

  it('is followed by an activation that runs the program once more, also for an active closure', async () => {
    const task = { done: true, apply: () => Object.assign(task, { done: true }) }
    await machineWithTask(task)
    await deploy(ops, standardRequest)
    task.done = false
    await deploy(ops, { ...standardRequest, alwaysActivate: true })
    expect(activations().slice(1)).toMatchObject([
      { early: true, always: true },
      { early: false, always: true },
    ])
  })
})
