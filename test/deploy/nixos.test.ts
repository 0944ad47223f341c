import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { NixosMachine } from '../../src/core/definition.js'
import { deploy } from '../../src/deploy/deploy.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { deploymentInfo } from '../../src/operations/info.js'
import { sendKeys } from '../../src/operations/send-keys.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork, fakeStorePath } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { standardRequest } from '../fakes/standard-request.js'

const db = fakeMachine('db')

function nixos(name: string): NixosMachine {
  const { providerName, provider, origins } = fakeMachine(name)
  return NixosMachine.parse({
    os: 'nixos',
    name,
    options: { targetEnv: 'fake' },
    ...{ providerName, provider, origins },
    drvPath: fakeStorePath(`${name}.drv`),
    outPath: fakeStorePath(name),
  })
}

let ops: FakeOps
beforeEach(async () => {
  ops = await createFakeOps({ network: fakeNetwork([nixos('web'), db]) })
  runFakeDebian(ops)
  await rememberNetwork(ops)
})
afterEach(() => ops.cleanup())

const run = (request: Partial<DeployRequest>) => deploy(ops, { ...standardRequest, ...request })
const record = () => ops.store.resolve('net')

describe('a NixOS machine, which hydra-ops can only evaluate,', () => {
  it('is in the plan with its resource and its closure', async () => {
    const { plan, results } = await run({ dryRun: true })
    expect(results).toEqual([])
    expect(plan.machines[0]).toMatchObject({
      machine: 'web',
      items: [
        { subject: 'fake', action: 'create' },
        { subject: 'closure', action: 'build' },
      ],
    })
  })

  it.each([{}, { until: 'create' }, { until: 'copy' }] as const)(
    'is refused by a deploy before anything is touched or written: %o',
    async (request) => {
      const before = await record()
      await expect(run(request)).rejects.toMatchObject({
        message: "machine 'web': NixOS machines can be evaluated, but not deployed yet",
        hint: expect.stringContaining('--build-only'),
        exitCode: 2,
      })
      expect(await record()).toEqual(before)
      expect([ops.nix.builds, ops.ssh.connects]).toEqual([[], []])
    },
  )

  it('is built by --build-only, and does not keep others from being deployed', async () => {
    await run({ until: 'build' })
    expect([...ops.nix.builds].sort()).toEqual(['db', 'web'])
    const { results } = await run({ selection: { exclude: ['web'] } })
    expect(results).toMatchObject([{ machine: 'db', outcome: 'changed' }])
  })

  it('is in info, and a verb that would work on it says why it cannot', async () => {
    const flags = { deployment: 'net', all: false, evaluate: true, probe: false, nix: standardRequest.nix }
    const [info] = await deploymentInfo(ops, flags)
    expect(info?.machines.map(({ name, currency }) => [name, currency])).toEqual([
      ['db', 'new'],
      ['web', 'new'],
    ])
    expect(info?.evaluationError).toBeUndefined()
  })

  it('is not contacted by a plan even if it runs', async () => {
    await run({ selection: { exclude: ['web'] } })
    ops.nix.network = fakeNetwork([nixos('db')])
    const connects = ops.ssh.connects.length
    const { plan } = await run({ dryRun: true })
    expect(plan.machines[0]).toMatchObject({
      machine: 'db',
      unknown: 'this version does not look at NixOS machines',
    })
    expect(ops.ssh.connects.length).toBe(connects)
    const keys = sendKeys(ops, { deployment: 'net', selection: {}, maxConcurrent: 1 } as never)
    expect(JSON.stringify(await keys.catch((error: Error) => error.message))).toContain(
      'NixOS machines can be evaluated, but not deployed yet',
    )
  })
})
