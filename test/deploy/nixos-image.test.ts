import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { MachineDefinition } from '../../src/core/definition.js'
import { failure } from '../../src/core/errors.js'
import type { BaseImage, NixosContent } from '../../src/core/image.js'
import { deploy } from '../../src/deploy/deploy.js'
import { buildNixosImages } from '../../src/operations/nixos-images.js'
import { fakeMachine, fakeNetwork, fakeStorePath } from '../fakes/fake-network.js'
import { runFakeFleet } from '../fakes/fake-nixos-fleet.js'
import { createFakeOps, type FakeOps, fakeRun, rememberNetwork } from '../fakes/fake-ops.js'
import { nixosDefinition } from '../fakes/nixos-definition.js'
import { standardRequest } from '../fakes/standard-request.js'

const parts = {
  id: 'nixos-abc',
  derivation: fakeStorePath('hydra-ops-nixos-image.drv'),
  output: fakeStorePath('hydra-ops-nixos-image'),
}
const fromNixpkgs = (name: string): MachineDefinition => ({
  ...nixosDefinition(name),
  provider: fakeMachine(name, { fake: { baseImage: 'nixos' } }).provider,
})

let ops: FakeOps
/** Machines whose image was evaluated, with the mode. */
let evaluated: [string[], string][]
let contents: NixosContent[]
let isMade: boolean
beforeEach(async () => {
  ops = await createFakeOps({ network: fakeNetwork([fromNixpkgs('a'), fromNixpkgs('b')]) })
  runFakeFleet(ops, fakeStorePath('nixos-system-image'))
  await rememberNetwork(ops)
  evaluated = []
  contents = []
  isMade = false
  const image: BaseImage = {
    id: 'nixos-abc',
    reference: 'nixos',
    disk: '/images/nixos-abc',
    format: 'qcow2',
    virtualBytes: 1,
    identity: 'nocloud',
  }
  const { build } = ops.nix
  Object.assign(ops.nix, {
    nixosImages: async ({ mode }: { mode: string }, machines: readonly string[]) => {
      evaluated.push([[...machines].sort(), mode])
      return new Map(machines.map((name) => [name, parts]))
    },
    build: async (...given: Parameters<typeof build>) =>
      [...given[0].values()].includes(parts.derivation)
        ? new Map([...given[0].keys()].map((machine) => [machine, { out: parts.output }]))
        : build(...given),
    folderOf: async () => '/state/nix/nix/store/hydra-ops-nixos-image',
    registration: async () => 'lines',
  })
  Object.assign(ops.images, {
    find: async (_: string, id?: string, recipe?: string) =>
      isMade && (id ?? recipe) === 'nixos-abc' ? image : undefined,
    ensure: async (
      reference: string,
      _: unknown,
      { nixos }: { nixos: { content(): Promise<NixosContent> } },
    ) => {
      expect(reference).toBe('nixos')
      contents.push(await nixos.content())
      isMade = true
      return image
    },
  })
})
afterEach(() => ops.cleanup())

describe('a NixOS machine that is made from the image nixos', () => {
  it('is planned with the image, which is called experimental, and nothing is made for a plan', async () => {
    const { plan } = await deploy(ops, { ...standardRequest, dryRun: true })
    expect(plan.machines[0]?.items[0]).toEqual({
      subject: 'image',
      action: 'build',
      detail: 'nixos from the nixpkgs of the machine (experimental)',
    })
    expect(evaluated).toEqual([[['a', 'b'], 'read']])
    expect(contents).toEqual([])
  })

  it('shares the image with machines of the same nixpkgs, which is built before any machine is made', async () => {
    const { results } = await deploy(ops, standardRequest)
    expect(results.map(({ outcome }) => outcome)).toEqual(['changed', 'changed'])
    expect(evaluated).toEqual([[['a', 'b'], 'write']])
    expect(contents).toEqual([
      {
        id: 'nixos-abc',
        storeFolder: '/state/nix/nix/store',
        paths: [parts.output.slice('/nix/store/'.length)],
        bytes: 1_000_000,
        registration: 'lines',
      },
    ])
  })

  it('costs no evaluation of the image once the machine exists', async () => {
    await deploy(ops, standardRequest)
    evaluated.length = 0
    await deploy(ops, standardRequest)
    expect(evaluated).toEqual([])
    await deploy(ops, { ...standardRequest, allowRecreate: true })
    expect(evaluated).toHaveLength(1)
  })

  it('is not made if the system of the image does not build, and the error says what to try', async () => {
    Object.assign(ops.nix, {
      build: async () =>
        new Map([['a', { error: failure('BUILD', 'building linux failed', { detail: 'a log' }) }]]),
      folderOf: async () => undefined,
    })
    await expect(deploy(ops, standardRequest)).rejects.toMatchObject({
      message: "machine 'a': cannot build the system of image 'nixos': building linux failed",
      detail: 'a log',
      hint: expect.stringContaining('a builder for x86_64-linux'),
    })
    expect(ops.hypervisor.listing().running).toEqual([])
  })
})

it('a Debian machine that names the image nixos is refused before anything is built', async () => {
  ops.nix.network = fakeNetwork([fakeMachine('web', { fake: { baseImage: 'nixos' } })])
  await expect(deploy(ops, { ...standardRequest, dryRun: true })).rejects.toMatchObject({
    message: "machine 'web': image 'nixos' is only for NixOS machines",
    hint: 'name another image in the options of the provider, or set deployment.os = "nixos"',
    exitCode: 2,
  })
})

describe('the images of a deployment, built by their verb', () => {
  const request = { deployment: undefined, refresh: false, nix: standardRequest.nix }

  it('are made once for each nixpkgs, also for machines that exist', async () => {
    await deploy(ops, standardRequest)
    contents.length = 0
    const images = await buildNixosImages(ops, request, fakeRun())
    expect(images.map(({ id }) => id)).toEqual(['nixos-abc'])
    expect(evaluated.at(-1)).toEqual([['a', 'b'], 'write'])
  })

  it('are refused for a deployment without such a machine', async () => {
    ops.nix.network = fakeNetwork([fakeMachine('web')])
    await expect(buildNixosImages(ops, request, fakeRun())).rejects.toMatchObject({
      message: "no machine of deployment 'net' is created from image 'nixos'",
      exitCode: 2,
    })
  })
})
