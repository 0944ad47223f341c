import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as z from 'zod'
import type { SetupTask } from '../../src/core/setup-task.js'
import { deploy } from '../../src/deploy/deploy.js'
import { setupStatus } from '../../src/operations/setup.js'
import { hydraProofTask } from '../../src/setup/hydra/proof-task.js'
import { hydraAccountsTask } from '../../src/setup/hydra/unix-users.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { fakeTask } from '../fakes/fake-task.js'
import { standardRequest } from '../fakes/standard-request.js'

const MachineFile = z.looseObject({
  machine: z.looseObject({ tasks: z.record(z.string(), z.unknown()) }),
})

let ops: FakeOps
/** The actions of the tasks since the upgrade. */
let done: string[]
const secret = {
  name: 'admin-password',
  what: "password of Hydra's user 'admin'",
  source: { file: null, command: null, prompt: false, generate: true },
}

const run = () => deploy(ops, standardRequest)

/** Writes the machine's file in the form of schema 3. */
async function asSchema3(): Promise<void> {
  const { uuid } = await ops.store.resolve('net')
  const file = join(ops.files.paths(uuid).root, 'machines', 'web.json')
  const read = MachineFile.parse(JSON.parse(readFileSync(file, 'utf8')))
  const { 'hydra-accounts': accounts, 'hydra-proof': proof, ...others } = read.machine.tasks
  expect([accounts, proof]).not.toContain(undefined)
  read.machine.tasks = { ...others, 'hydra-users': accounts, 'hydra-probe': proof }
  writeFileSync(file, `${JSON.stringify({ ...read, schemaVersion: 3 }, undefined, 1)}\n`)
}

/** Creates a task with this name that is already done on the machine. */
function doneTask({ id }: { readonly id: string }, more: Partial<SetupTask<object>> = {}) {
  return fakeTask(id, {
    probe: async () => 'done',
    apply: async (_host, _options, { secret: read }) => {
      if (more.secrets !== undefined) await read(secret.name)
      done.push(id)
      return {}
    },
    ...more,
  })
}

beforeEach(async () => {
  done = []
  ops = await createFakeOps({ network: fakeNetwork([fakeMachine('web')]) })
  const tasks = [doneTask(hydraAccountsTask), doneTask(hydraProofTask, { secrets: () => [secret] })]
  ops.tasks = async () => tasks
  runFakeDebian(ops)
  await rememberNetwork(ops)
  await run()
  expect(done).toEqual(['hydra-accounts', 'hydra-proof'])
  done = []
  await asSchema3()
})
afterEach(() => ops.cleanup())

describe('a machine that hydra-ops set up while its tasks had other names', () => {
  it('is unchanged at the next deploy: no task runs again', async () => {
    const { results } = await run()
    expect(results.map(({ outcome }) => outcome)).toEqual(['unchanged'])
    expect(done).toEqual([])
  })

  it('is done in setup status, under the present names', async () => {
    const rows = await setupStatus(ops, { deployment: undefined, selection: {} })
    expect(rows.map(({ task, state }) => [task, state])).toEqual([
      ['hydra-accounts', 'done'],
      ['hydra-proof', 'done'],
    ])
  })

  it('has a task run again when its options changed meanwhile, and only that task', async () => {
    const tasks = [
      doneTask(hydraAccountsTask, { wanted: () => ({ more: 'users' }) }),
      doneTask(hydraProofTask, { secrets: () => [secret] }),
    ]
    ops.tasks = async () => tasks
    await run()
    expect(done).toEqual(['hydra-accounts'])
  })
})
