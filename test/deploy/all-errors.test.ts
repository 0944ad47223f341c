import { afterEach, describe, expect, it } from 'vitest'
import type { MachineDefinition } from '../../src/core/definition.js'
import { failure } from '../../src/core/errors.js'
import { MachineName } from '../../src/core/names.js'
import { deploy } from '../../src/deploy/deploy.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { checkKeys } from '../../src/keys/keys.js'
import { expressionPaths } from '../../src/operations/create.js'
import { setArguments } from '../../src/operations/set-args.js'
import { runSetup } from '../../src/operations/setup.js'
import { secretHashes } from '../../src/tasks/secrets.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork, fakeStorePath } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { exit } from '../fakes/fake-ssh.js'
import { fakeTask } from '../fakes/fake-task.js'
import { standardRequest } from '../fakes/standard-request.js'
import { errorOf } from '../state/temporary-store.js'

let ops: FakeOps

async function open(...machines: MachineDefinition[]): Promise<void> {
  ops = await createFakeOps({ network: fakeNetwork(machines) })
  runFakeDebian(ops)
  await rememberNetwork(ops)
}
afterEach(() => ops.cleanup())

const run = (request: Partial<DeployRequest> = {}) => deploy(ops, { ...standardRequest, ...request })

/** Expects an error that names both machines, with the exit code of one machine's error. */
async function expectBoth(action: () => unknown, web: string, db: string, exitCode = 2): Promise<void> {
  const error = await errorOf(async () => action())
  expect(error).toMatchObject({ exitCode, message: expect.stringContaining(web) })
  expect(error).toMatchObject({ message: expect.stringContaining(db) })
}

describe('one run reports every mistake', () => {
  it('when two machines ask for impossible disks', async () => {
    await open(fakeMachine('web'), fakeMachine('db'))
    await run()
    const small = { fake: { diskSize: 5 } }
    ops.nix.network = fakeNetwork([fakeMachine('web', small), fakeMachine('db', small)])
    await expectBoth(() => run(), "machine 'web': a disk cannot shrink", "machine 'db': a disk cannot shrink")
  })

  it('when two pairs of machines share ports', async () => {
    const forwards = (name: string, port: number) => fakeMachine(name, { fake: { forwardPorts: [port] } })
    await open(forwards('web', 80), forwards('db', 80), forwards('app', 81), forwards('ci', 81))
    await expectBoth(() => run(), "'web' and 'db' both want port 80", "'app' and 'ci' both want port 81")
  })

  it('when two machines share a port, with the option of their provider that chooses ports', async () => {
    const forwards = (name: string) => fakeMachine(name, { fake: { forwardPorts: [80] } })
    await open(forwards('web'), forwards('db'))
    expect(await errorOf(async () => run())).toMatchObject({
      hint: 'give one machine another host port in deployment.fake.forwardPorts',
    })
  })

  it('when two machines would move to another provider', async () => {
    await open(fakeMachine('web'), fakeMachine('db'))
    await run()
    const moved = (name: string) => fakeMachine(name, { rest: { providerName: 'ssh' } })
    ops.nix.network = fakeNetwork([moved('web'), moved('db')])
    await expectBoth(() => run(), "machine 'web' exists", "machine 'db' exists")
  })

  it('when two closures are missing from the store or belong to no machine', async () => {
    await open(fakeMachine('web'), fakeMachine('db'))
    const closures = (...names: string[]) =>
      new Map(names.map((name) => [MachineName.parse(name), fakeStorePath(`of-${name}`)]))
    await expectBoth(
      () => run({ closures: closures('web', 'db') }),
      "machine 'web': the closure /nix",
      "machine 'db': the closure /nix",
      1,
    )
    await expectBoth(() => run({ closures: closures('x', 'y') }), '--closure x=…', '--closure y=…')
  })

  it('when two parts of a selection match nothing', async () => {
    await open(fakeMachine('web'))
    await expectBoth(() => run({ selection: { on: 'x,!@y' } }), "no machine is called 'x'", "the tag 'y'")
  })

  it('when several parts of one look fail', async () => {
    await open(fakeMachine('web', { deployment: { aptPackages: ['jq'] } }))
    await run({ until: 'create' })
    ops.ssh.answer('read the facts of the machine', exit(1, 'no facts'))
    ops.ssh.answer('read which packages are installed', exit(1, 'no packages'))
    const [row] = (await run()).results
    expect(row).toMatchObject({
      outcome: 'failed',
      reason: expect.stringContaining('read the facts of the machine'),
    })
    expect(row?.reason).toContain('read which packages are installed')
  })

  it('when two keys cannot be delivered', async () => {
    await open()
    const keys = { one: {}, two: { text: 'x', keyFile: '/x' } }
    const machine = fakeMachine('web', { deployment: { keys } })
    await expectBoth(() => checkKeys(machine), '"one"', '"two"')
  })

  it('when two secrets cannot be read', async () => {
    await open()
    const secrets = {
      fingerprint: async ({ name }: { name: string }) => {
        throw failure('SECRET', `${name} cannot be read`)
      },
      read: async () => '',
    }
    const need = (name: string) => ({ name, what: name, source: { prompt: false, generate: false } })
    const hashes = () => secretHashes([need('one'), need('two')], { secrets, hmac: (text) => text })
    await expectBoth(hashes, 'one cannot be read', 'two cannot be read', 1)
  })

  it('when two files or two arguments are missing', async () => {
    await open()
    await expectBoth(() => expressionPaths(['a.nix', 'b.nix'], ops.folder), "'a.nix'", "'b.nix'")
    const unset = { deployment: 'net', set: {}, unset: ['x', 'y'] }
    await expectBoth(() => setArguments(ops, unset), "'x' is not set", "'y' is not set")
  })

  it('when no selected machine wants a task', async () => {
    await open(fakeMachine('web'), fakeMachine('db'))
    await run()
    const wish = { deployment: 'net', selection: {}, task: 'nix', redo: false }
    const had = 'has no set-up task'
    await expectBoth(() => runSetup(ops, wish), `machine 'web' ${had}`, `machine 'db' ${had}`)
  })

  it('when two set-up tasks fail, with the hint and the evidence of each', async () => {
    await open(fakeMachine('web'))
    const failing = (id: 'nix' | 'nginx') =>
      fakeTask(id, {
        apply: async () => {
          throw failure('X', `${id} is broken`, { hint: `mend ${id}`, detail: `log of ${id}` })
        },
      })
    ops.tasks = async () => [failing('nix'), failing('nginx')]
    const [row] = (await run()).results
    expect(row).toMatchObject({ stage: 'setup', hint: 'mend nix\nmend nginx' })
    expect(row?.evidence).toEqual(['log of nix', 'log of nginx'])
  })
})
