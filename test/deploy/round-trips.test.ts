import { afterEach, describe, expect, it } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { setupTasks } from '../../src/setup/tasks.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { succeed } from '../fakes/fake-ssh.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps
afterEach(() => ops.cleanup())

/** Creates a Debian machine that is already deployed. */
async function deployedMachine(deployment: object = {}) {
  ops = await createFakeOps({ network: fakeNetwork([fakeMachine('web', { deployment })]) })
  await rememberNetwork(ops)
  runFakeDebian(ops)
  await deploy(ops, standardRequest)
  ops.ssh.commands.length = 0
  ops.ssh.connects.length = 0
}

describe('the number of commands given to a machine', () => {
  it('is one for a deploy that changes nothing', async () => {
    await deployedMachine()
    const { results } = await deploy(ops, standardRequest)
    expect(results.map(({ outcome }) => outcome)).toEqual(['unchanged'])
    expect(ops.ssh.commands).toHaveLength(1)
    expect(ops.ssh.connects).toEqual(['web'])
  })

  it('is two for a look at a whole Hydra: the answers to the first determine the second', async () => {
    await deployedMachine()
    const hydra = {
      enable: true,
      package: '/nix/store/00000000000000000000000000000000-hydra',
      admin: { userName: 'admin', password: { generate: true } },
      nixServe: { enable: true, package: '/nix/store/00000000000000000000000000000000-nix-serve' },
      cache: { enable: true },
      nginx: { enable: true },
      postfix: { enable: true },
    }
    Object.assign(ops, {
      nix: { ...ops.nix, evaluate: async () => fakeNetwork([fakeMachine('web', { deployment: { hydra } })]) },
      tasks: async () => setupTasks,
    })
    const programs = ['init', 'server', 'evaluator', 'queue-runner', 'create-user']
    ops.ssh.answer(/^(?:look|ask|read)\b/, succeed())
    ops.ssh.answer('look for PostgreSQL', succeed('cluster=15 main 5432 online postgres\nholder=15 main\n'))
    ops.ssh.answer(
      'look at the package of Hydra',
      succeed(programs.map((name) => `program=hydra-${name}\n`).join('')),
    )
    ops.ssh.answer('look at PostgreSQL', succeed('hba=\nident=\n'))
    runFakeDebian(ops)
    await deploy(ops, { ...standardRequest, dryRun: true })
    const asked = new Set(ops.ssh.execs.map(({ what }) => what))
    for (const deep of [
      'look at PostgreSQL',
      'look at the services of hydra',
      'query the services of Hydra',
      'look for the proof',
    ])
      expect(asked).toContain(deep)
    expect(ops.ssh.commands).toHaveLength(2)
  })
})
