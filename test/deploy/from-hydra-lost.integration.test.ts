import { afterEach, beforeEach, expect, it } from 'vitest'
import { failure } from '../../src/core/errors.js'
import { MachineName } from '../../src/core/names.js'
import type { Nix } from '../../src/core/nix.js'
import { deploy } from '../../src/deploy/deploy.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { type ModelEvaluation, pathOf } from '../fakes/model-hydra.js'
import { type ServedHydra, serveHydra } from '../fakes/served-hydra.js'
import { standardRequest } from '../fakes/standard-request.js'
import { greenWish } from '../fixtures/hydra-wish.js'

let ops: FakeOps
let hydra: ServedHydra

const evaluation = (id: number): ModelEvaluation => ({
  id,
  jobs: { web: { id: id * 10, status: 0 }, release: { id: id * 10 + 1, status: 0, parts: ['web'] } },
})

beforeEach(async () => {
  hydra = await serveHydra([evaluation(98)])
  const place = { url: hydra.model.url, project: 'infra', jobset: 'main' }
  ops = await createFakeOps({ network: fakeNetwork([fakeMachine('web')], { hydra: place }) })
  runFakeDebian(ops)
  await rememberNetwork(ops)
  ops.nix.caches.set('web', 'ok')
  await run()
  hydra.model.evaluations = [evaluation(99), evaluation(98)]
})
afterEach(async () => {
  await hydra.close()
  ops.cleanup()
})

const run = () => deploy(ops, { ...standardRequest, fromHydra: greenWish })
const deployed = async () => (await ops.store.resolve('net')).machines[MachineName.parse('web')]?.deployed
const started = () => ops.ssh.execs.filter(({ what }) => what === 'start the activation').length

/** Breaks the connection during the next fetch of the machine, as the real client reports that. */
function breakNextFetch(): void {
  const fetch = ops.nix.fetch
  const broken: Nix['fetch'] = async () => {
    ops.nix.fetch = fetch
    throw failure('CONNECTION_LOST', "machine 'web': the connection broke while the machine fetched paths", {
      machine: 'web',
    })
  }
  ops.nix.fetch = broken
}

it('a deploy whose machine loses the connection during its fetch starts nothing, and the next deploy ends it', async () => {
  breakNextFetch()
  const { results } = await run()
  expect(results).toMatchObject([
    { outcome: 'failed', stage: 'copy', reason: expect.stringContaining('the connection broke') },
  ])
  expect(started()).toBe(1)
  expect(ops.nix.copies).toEqual([])
  expect(await deployed()).toMatchObject({ path: pathOf('web', 980), hydra: { evaluation: 98 } })
  expect((await run()).results).toMatchObject([{ outcome: 'changed' }])
  expect(started()).toBe(2)
  expect(await deployed()).toMatchObject({ path: pathOf('web', 990), hydra: { evaluation: 99 } })
})
