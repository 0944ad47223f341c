import { afterEach, describe, expect, it } from 'vitest'
import { machinesStatus } from '../../src/commands/statuses.js'
import { deploy } from '../../src/deploy/deploy.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps
afterEach(() => ops.cleanup())

/**
 * Deploys the groups db (two machines), web (one) and the rest (one). Activation fails on the machines in `failing`.
 */
async function groups(...failing: string[]): Promise<void> {
  const tagged = (name: string, ...tags: string[]) => fakeMachine(name, { deployment: { tags } })
  const machines = [tagged('db1', 'db'), tagged('db2', 'db'), tagged('web1', 'web', 'x'), tagged('mail')]
  ops = await createFakeOps({ network: fakeNetwork(machines, { ordering: ['db', 'web'] }) })
  runFakeDebian(ops, {
    activationCode: (machine) => (failing.includes(machine) ? 4 : 0),
    units: ['a.service'],
  })
  await rememberNetwork(ops)
}

async function run(request: Partial<DeployRequest> = {}): Promise<Record<string, string>> {
  const { results } = await deploy(ops, { ...standardRequest, ...request })
  return Object.fromEntries(
    results.map(({ machine, outcome, reason }) => [
      machine,
      outcome === 'skipped' ? `skipped: ${reason}` : outcome,
    ]),
  )
}
function wantVersion(version: string): void {
  const { machines, ...rest } = ops.nix.network
  const next = [...machines.values()].map(({ name, options }) =>
    fakeMachine(name, { version, deployment: { tags: options.tags } }),
  )
  ops.nix.network = fakeNetwork(next, rest)
}
const made = () =>
  ops.hypervisor
    .listing()
    .running.map((name) => name.split('-').at(-1))
    .sort()

describe('groups of an ordering', () => {
  it('give the exit status of a failed machine, and a hint at the flag', async () => {
    await groups('db1')
    const { results } = await deploy(ops, standardRequest)
    expect(machinesStatus(results)).toBe(3)
    expect(results.find(({ machine }) => machine === 'mail')?.hint).toContain('--keep-going-groups')
  })

  it('do not begin after a group with a failed machine; the other machines of that group are finished', async () => {
    await groups('db1')
    const reason = "skipped: not started, because db1 of group 'db' failed"
    expect(await run()).toEqual({ db1: 'degraded', db2: 'changed', web1: reason, mail: reason })
    expect(made()).toEqual(['db1', 'db2'])
  })

  it('end with the group of a failed machine, also with the last but one', async () => {
    await groups('web1')
    expect(await run()).toMatchObject({
      web1: 'degraded',
      mail: "skipped: not started, because web1 of group 'web' failed",
    })
    expect(made()).toEqual(['db1', 'db2', 'web1'])
  })

  it('all begin with --keep-going-groups', async () => {
    await groups('db1')
    expect(await run({ keepGoingGroups: true })).toEqual({
      db1: 'degraded',
      db2: 'changed',
      web1: 'changed',
      mail: 'changed',
    })
  })

  it('do not begin after a group with a machine that could not be inspected or built', async () => {
    await groups()
    ops.nix.brokenBuilds.add('db2')
    expect(await run({ keepGoing: true })).toMatchObject({
      db1: 'changed',
      db2: 'failed',
      web1: "skipped: not started, because db2 of group 'db' failed",
    })
    expect(made()).toEqual(['db1'])
  })

  it('go on with the next deploy once the failure is mended', async () => {
    const failing = ['db1', 'db2']
    await groups(...failing)
    expect(await run()).toMatchObject({ web1: "skipped: not started, because db1, db2 of group 'db' failed" })
    runFakeDebian(ops)
    expect(await run()).toEqual({ db1: 'changed', db2: 'changed', web1: 'changed', mail: 'changed' })
  })

  it('are also taken up by --retry-failed when they did not begin after a failure', async () => {
    await groups()
    await run()
    wantVersion('v2')
    runFakeDebian(ops, { activationCode: (machine) => (machine === 'db1' ? 4 : 0) })
    expect(await run()).toMatchObject({
      db1: 'failed',
      db2: 'changed',
      web1: expect.stringMatching(/^skipped/),
    })
    runFakeDebian(ops)
    expect(await run({ retryFailed: true })).toEqual({ db1: 'changed', web1: 'changed', mail: 'changed' })
    expect(await run({ retryFailed: true })).toEqual({})
  })

  it('are also taken up by --retry-failed when a machine that did not build ended the deploy', async () => {
    await groups()
    await run()
    wantVersion('v2')
    ops.nix.brokenBuilds.add('web1')
    await expect(run()).rejects.toMatchObject({ code: 'BUILD' })
    ops.nix.brokenBuilds.clear()
    expect(Object.keys(await run({ retryFailed: true })).sort()).toEqual(['db1', 'db2', 'mail', 'web1'])
  })

  it('are taken up by --retry-failed until they begin', async () => {
    await groups()
    await run()
    wantVersion('v2')
    runFakeDebian(ops, { activationCode: (machine) => (machine === 'db1' ? 4 : 0) })
    await run()
    expect(Object.keys(await run({ retryFailed: true })).sort()).toEqual(['db1', 'mail', 'web1'])
  })

  it('do not matter when the network orders nothing', async () => {
    await groups('db1')
    ops.nix.network = fakeNetwork([...ops.nix.network.machines.values()])
    expect(await run()).toMatchObject({ db1: 'degraded', web1: 'changed', mail: 'changed' })
  })
})
