import { afterEach, beforeEach, expect, it } from 'vitest'
import { MachineName, StorePath } from '../../src/core/names.js'
import { deploy } from '../../src/deploy/deploy.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { fakeNetwork, fakeStorePath } from '../fakes/fake-network.js'
import { type FakeFleet, runFakeFleet } from '../fakes/fake-nixos-fleet.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { type ModelEvaluation, pathOf } from '../fakes/model-hydra.js'
import { nixosDefinition } from '../fakes/nixos-definition.js'
import { type ServedHydra, serveHydra } from '../fakes/served-hydra.js'
import { standardRequest } from '../fakes/standard-request.js'
import { greenWish } from '../fixtures/hydra-wish.js'

let ops: FakeOps
let fleet: FakeFleet
let hydra: ServedHydra

const [first, second] = [StorePath.parse(pathOf('web', 980)), StorePath.parse(pathOf('web', 990))]

const evaluation = (id: number): ModelEvaluation => ({
  id,
  jobs: { web: { id: id * 10, status: 0 }, release: { id: id * 10 + 1, status: 0, parts: ['web'] } },
})

beforeEach(async () => {
  hydra = await serveHydra([evaluation(98)])
  const place = { url: hydra.model.url, project: 'infra', jobset: 'main' }
  ops = await createFakeOps({ network: fakeNetwork([nixosDefinition('web')], { hydra: place }) })
  fleet = runFakeFleet(ops, fakeStorePath('nixos-system-image'))
  await rememberNetwork(ops)
  ops.nix.caches.set('web', 'ok')
  fleet.behave(first, { version: '24.11.20241128.abc', kernel: '/nix/store/k1' })
  await run()
  Object.assign(fleet.machine('web'), { booted: first })
  fleet.events.length = 0
  hydra.model.evaluations = [evaluation(99), evaluation(98)]
})
afterEach(async () => {
  await hydra.close()
  ops.cleanup()
})

function run(request: Partial<DeployRequest> = {}) {
  return deploy(ops, { ...standardRequest, ...request, fromHydra: greenWish })
}

const deployed = async () => (await ops.store.resolve('net')).machines[MachineName.parse('web')]?.deployed

it('a NixOS machine switches to a system that it fetched itself, and this host never had', async () => {
  fleet.behave(second, { version: '24.11.20241129.abc', kernel: '/nix/store/k1' })
  await run()
  expect(fleet.events).toEqual([`web test ${second}`, `web keep ${second}`])
  expect(ops.nix.fetches.map(({ where, path }) => [where, path])).toEqual([
    ['web', first],
    ['web', second],
  ])
  expect([ops.nix.builds, ops.nix.copies, ops.nix.roots]).toEqual([[], [], []])
  expect((await deployed())?.hydra).toMatchObject({ evaluation: 99, build: 990 })
})

it('a NixOS machine gets the names of the others before its first fetch alone', async () => {
  const named = () => ops.ssh.execs.filter(({ what }) => what === 'write the names of the other machines')
  expect(named().map(({ machine }) => machine)).toEqual(['web'])
  fleet.behave(second, { version: '24.11.20241129.abc', kernel: '/nix/store/k1' })
  await run()
  expect(named()).toHaveLength(1)
})

it('a NixOS machine goes back when the fetched system fails, and its record stays true', async () => {
  fleet.behave(second, { version: '24.11.20241129.abc', kernel: '/nix/store/k1', status: 1 })
  const { results } = await run()
  expect(results[0]).toMatchObject({ outcome: 'failed', stage: 'activate' })
  expect(fleet.machine('web').current).toBe(first)
  expect((await deployed())?.hydra).toMatchObject({ evaluation: 98 })
})
