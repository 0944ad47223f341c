import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { BaseImage } from '../../src/core/image.js'
import { MachineName, resourceName } from '../../src/core/names.js'
import { deploy } from '../../src/deploy/deploy.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { standardRequest as standard } from '../fakes/standard-request.js'
import { type Deployed, deployed } from '../operations/deployed.js'

const request = { ...standard, deployment: undefined, selection: { on: 'web' } }
const allowed = { ...request, allowRecreate: true, yes: true }

let world: Deployed
let name: string
/** The names of the images in the fake image store. An image is added when it is built. */
let there: Set<string>
/** Each image that was built, with the state of the machine at that time. */
let made: { reference: string; machine: string }[]
let makeFails: boolean

beforeEach(async () => {
  world = await deployed()
  const { ops } = world
  name = resourceName((await ops.store.resolve(undefined)).uuid, MachineName.parse('web'))
  there = new Set()
  made = []
  makeFails = false
  const imageOf = (reference: string): BaseImage => ({
    id: reference,
    reference,
    disk: `/images/${reference}`,
    format: 'qcow2',
    virtualBytes: 1,
    identity: 'fwcfg',
  })
  Object.assign(ops.images, {
    find: async (reference: string, id = reference) => (there.has(id) ? imageOf(id) : undefined),
    ensure: async (reference: string) => {
      made.push({ reference, machine: ops.hypervisor.running(name) === undefined ? 'gone' : 'running' })
      if (makeFails) throw new Error('no image today')
      there.add(reference)
      return imageOf(reference)
    },
  })
})
afterEach(() => world.ops.cleanup())

const losesItsBase = () => {
  const disk = world.ops.hypervisor.disk(name)
  if (disk === undefined) throw new Error('the machine has a disk')
  world.ops.hypervisor.makeDisk(name, { ...disk, lostBase: true })
  return 'fake-image'
}
const wantsAnother = () => {
  there.add('fake-image')
  world.ops.nix.network = fakeNetwork([
    fakeMachine('web', {
      deployment: { tags: ['front'] },
      fake: { baseImage: 'other', forwardPorts: [18080] },
    }),
    fakeMachine('db', { deployment: { tags: ['back'] } }),
  ])
  return 'other'
}

it.each([
  [
    'whose base image is gone',
    losesItsBase,
    'the base image fake-image is gone',
    'put it back; or run hydra-ops deploy --allow-recreate, which destroys the data on its disks',
  ],
  [
    'that wants another base image',
    wantsAnother,
    'image fake-image → other',
    'run hydra-ops deploy --allow-recreate, which destroys the data on its disks',
  ],
])(
  'the refusal to recreate a machine gives the reason, and names the rescue for its disks: a machine %s',
  async (...row) => {
    const [, change, why, hint] = row
    change()
    const { results } = await deploy(world.ops, request)
    expect(results).toMatchObject([
      { outcome: 'failed', reason: `machine 'web' needs --allow-recreate: ${why}`, hint },
    ])
    expect(world.ops.hypervisor.running(name)).toBeDefined()
  },
)

describe.each([
  ['whose base image is gone', losesItsBase],
  ['that wants another base image', wantsAnother],
])('a machine %s', (_, change) => {
  it('is recreated when that is allowed, after its image was made', async () => {
    const reference = change()
    const { plan, results } = await deploy(world.ops, allowed)
    expect(results).toMatchObject([{ machine: 'web', outcome: 'changed' }])
    expect(made).toEqual([{ reference, machine: 'running' }])
    expect(plan.machines[0]?.items).toContainEqual({ subject: 'image', action: 'build', detail: reference })
    expect(world.ops.hypervisor.disk(name)).toMatchObject({ image: reference })
    expect(world.ops.hypervisor.running(name)).toBeDefined()
  })

  it('is left as it is when its image cannot be made', async () => {
    change()
    makeFails = true
    const before = [world.ops.hypervisor.disk(name), world.ops.hypervisor.running(name)]
    await expect(deploy(world.ops, allowed)).rejects.toThrow('no image today')
    expect([world.ops.hypervisor.disk(name), world.ops.hypervisor.running(name)]).toEqual(before)
    expect(
      (await world.ops.store.resolve(undefined)).machines[MachineName.parse('web')]?.handle,
    ).toBeDefined()
  })

  it('gets no image when it may not be recreated', async () => {
    change()
    await deploy(world.ops, request)
    expect(made).toEqual([])
    expect(world.ops.hypervisor.running(name)).toBeDefined()
  })

  it('is left as it is when its image disappears again before its turn', async () => {
    const reference = change()
    const { ensure } = world.ops.images
    Object.assign(world.ops.images, {
      ensure: async (...args: Parameters<typeof ensure>) => {
        const image = await ensure(...args)
        there.delete(reference)
        return image
      },
    })
    const { results } = await deploy(world.ops, allowed)
    expect(results).toMatchObject([{ outcome: 'failed', hint: `hydra-ops image build ${reference}` }])
    expect(world.ops.hypervisor.running(name)).toBeDefined()
  })
})
