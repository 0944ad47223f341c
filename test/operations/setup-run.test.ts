import { afterEach, beforeEach, expect, it } from 'vitest'
import { failure } from '../../src/core/errors.js'
import type { WantedTask } from '../../src/core/setup-task.js'
import { runSetup, setupStatus } from '../../src/operations/setup.js'
import { hydraProofTask } from '../../src/setup/hydra/proof-task.js'
import { hydraAccountsTask } from '../../src/setup/hydra/unix-users.js'
import { type Deployed, deployed } from './deployed.js'

let world: Deployed
let applied: string[]
let probe: WantedTask['probe']

const task = (machine: string): WantedTask => ({
  id: 'greet',
  title: 'greet',
  after: [],
  stage: 'configure',
  inputs: '{}',
  packages: [],
  owns: [],
  secrets: [],
  probe: (...args) => probe(...args),
  apply: async () => {
    applied.push(machine)
    return {}
  },
  verify: async () => {},
})

/** The machine web wants the task, and db does not. */
beforeEach(async () => {
  world = await deployed()
  applied = []
  probe = async () => 'needed'
  Object.assign(world.ops, {
    tasks: async () => [
      ({ definition }: { definition: { name: string } }) =>
        definition.name === 'web' ? task('web') : undefined,
    ],
  })
})
afterEach(() => world.ops.cleanup())

const run = (task: string, on?: string) =>
  runSetup(world.ops, { deployment: undefined, selection: { on }, task, redo: false })

it('setup run does the task on the machines that want it, and leaves the other machines alone', async () => {
  expect((await run('greet')).map(({ machine, outcome }) => [machine, outcome])).toEqual([
    ['web', 'changed'],
    ['db', 'unchanged'],
  ])
  expect(applied).toEqual(['web'])
})

it('setup run of a task that no selected machine wants is a mistake, with the intended name', async () => {
  await expect(run('gret')).rejects.toMatchObject({
    exitCode: 2,
    hint: "did you mean 'greet'?\nmachine 'db' has no set-up task",
  })
  await expect(run('greet', 'db')).rejects.toMatchObject({ exitCode: 2 })
  expect(applied).toEqual([])
})

it('setup status distinguishes tasks that were never done, tasks that drifted, and unknown ones', async () => {
  const status = async () =>
    (await setupStatus(world.ops, { deployment: undefined, selection: {} })).map(({ state, detail }) => [
      state,
      detail,
    ])
  expect(await status()).toEqual([['needed', 'not done yet']])
  await run('greet')
  expect(await status()).toEqual([['drifted', 'not done yet']])
  probe = async () => ({ drifted: 'it is rude' })
  expect(await status()).toEqual([['drifted', 'it is rude']])
  probe = async () => {
    throw failure('X', 'no answer')
  }
  expect(await status()).toEqual([['unknown', 'the state of the task cannot be read: no answer']])
  probe = async () => 'done'
  expect(await status()).toEqual([['done', undefined]])
})

it('setup run leaves a machine alone that another operator sets up at that moment', async () => {
  world.ops.ssh.answer('take the set-up lock of the machine', {
    kind: 'exited',
    code: 75,
    stdout: 'bob@desk with the state /home/bob/s\n180\n',
    stderr: '',
  })
  const [web] = await run('greet')
  expect(web).toMatchObject({
    outcome: 'failed',
    reason: expect.stringContaining(
      "machine 'web' has been locked for set-up by bob@desk with the state /home/bob/s for 3 min",
    ),
  })
  expect(applied).toEqual([])
})

it('setup run of a task by its former name says the present name', async () => {
  const renamed = (name: string): WantedTask => ({ ...task(name), formerly: ['welcome'] })
  Object.assign(world.ops, { tasks: async () => [() => renamed('web')] })
  await expect(run('welcome')).rejects.toMatchObject({
    exitCode: 2,
    message: expect.stringContaining("has no set-up task 'welcome'"),
    hint: "the task has the new name 'greet': hydra-ops setup run greet",
  })
  expect(applied).toEqual([])
})

it('the tasks that were renamed know their former names', () => {
  const ids = [hydraAccountsTask, hydraProofTask].map(({ id, formerly }) => [id, formerly])
  expect(ids).toEqual([
    ['hydra-accounts', ['hydra-users']],
    ['hydra-proof', ['hydra-probe']],
  ])
})
