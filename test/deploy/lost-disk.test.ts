import { afterEach, beforeEach, expect, it } from 'vitest'
import { MachineName, resourceName } from '../../src/core/names.js'
import { deploy } from '../../src/deploy/deploy.js'
import { standardRequest as standard } from '../fakes/standard-request.js'
import { type Deployed, deployed } from '../operations/deployed.js'

let world: Deployed
let name: string

beforeEach(async () => {
  world = await deployed()
  const { hypervisor, store } = world.ops
  name = resourceName((await store.resolve(undefined)).uuid, MachineName.parse('web'))
  const disk = hypervisor.disk(name)
  if (disk === undefined) throw new Error('the machine has a disk')
  hypervisor.makeDisk(name, { ...disk, lostData: true })
})
afterEach(() => world.ops.cleanup())

const request = { ...standard, deployment: undefined, selection: { on: 'web' } }

async function planned(more: object): Promise<(string | undefined)[]> {
  const { plan } = await deploy(world.ops, { ...request, ...more, dryRun: true })
  return plan.machines.flatMap(({ items }) => items.map(({ detail, note }) => `${detail}: ${note}`))
}

it('a plan names the remedy for a missing data disk, and its cost', async () => {
  expect(await planned({})).toEqual(['disk data is gone: needs --allow-recreate'])
  expect(await planned({ allowRecreate: true })).toEqual(['disk data is gone: the data on that disk is lost'])
})

it('a deploy leaves a machine with a missing data disk as it is', async () => {
  const { ops } = world
  const before = [ops.hypervisor.disk(name), (await ops.store.resolve(undefined)).machines]
  const { results } = await deploy(ops, request)
  expect(results).toMatchObject([
    {
      outcome: 'failed',
      reason: "machine 'web' needs --allow-recreate: disk data is gone",
      hint: 'put it back; or run hydra-ops deploy --allow-recreate, which destroys the data on that disk',
    },
  ])
  const { lastResult, ...web } = {
    ...(await ops.store.resolve(undefined)).machines[MachineName.parse('web')],
  }
  expect(lastResult).toBe('failed')
  expect(before).toMatchObject([ops.hypervisor.disk(name), { web: { ...web } }])
})

it('a deploy that may lose the disk asks first, and keeps the deployment on the root disk', async () => {
  const { ops } = world
  ops.answerTo = false
  const allowed = { ...request, allowRecreate: true }
  await expect(deploy(ops, { ...allowed, yes: false })).rejects.toThrow('nothing was changed')
  const { deployed: closure } = { ...(await ops.store.resolve(undefined)).machines[MachineName.parse('web')] }
  await deploy(ops, { ...allowed, yes: true })
  expect(ops.hypervisor.disk(name)?.lostData).toBeUndefined()
  expect((await ops.store.resolve(undefined)).machines[MachineName.parse('web')]?.deployed?.path).toBe(
    closure?.path,
  )
})
