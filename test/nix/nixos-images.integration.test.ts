import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createImageEvaluator } from '../../nix/nixos-images.js'
import { OpsError } from '../../src/core/errors.js'
import type { NixosParts } from '../../src/core/image.js'
import { MachineName } from '../../src/core/names.js'
import type { EvaluationRequest } from '../../src/core/nix.js'
import {
  builtInProviders,
  createNixSandbox,
  fixtureNixpkgs,
  listing,
  type NixSandbox,
  oldNixpkgs,
} from './real-nix.js'

let nix: NixSandbox
beforeEach(() => {
  nix = createNixSandbox('', builtInProviders)
})
afterEach(() => nix.dispose())

const disk = { boot: '/dev/vda', root: '/dev/disk/by-label/nixos', rootType: 'ext4', drivers: ['virtio_blk'] }
const names = ['a', 'b', 'c'].map((name) => MachineName.parse(name))

/** Evaluates the images of the machines of a network. */
async function images(
  text: string,
  machines: readonly MachineName[],
  wanted: Partial<EvaluationRequest> = {},
): Promise<ReadonlyMap<string, NixosParts>> {
  const evaluate = createImageEvaluator({
    command: nix.command,
    providers: builtInProviders,
    cwd: nix.folder,
  })
  return evaluate(
    {
      files: [nix.write('hydra.nix', text)],
      searchPath: [],
      args: {},
      deployment: { uuid: '8a4b1f2c-0000-4000-8000-000000000000', name: 'lab' },
      physical: Object.fromEntries(machines.map((name) => [name, { disk }])),
      mode: 'read',
      flags: { showTrace: false, options: [] },
      ...wanted,
    },
    machines,
    { signal: new AbortController().signal, log: () => {} },
  )
}

describe('the image of a NixOS machine', () => {
  it('is one for machines of one nixpkgs, whatever else they have, and another for another nixpkgs', async () => {
    const found = await images(
      `{ network.nixpkgs = ${fixtureNixpkgs}; network.nodeNixpkgs.c = ${oldNixpkgs};
        a = { }; b = { networking.domain = "example.org"; }; c = { }; }`,
      names,
    )
    const [a, b, c] = names.map((name) => found.get(name))
    expect(a).toEqual(b)
    expect(a?.id).toMatch(/^nixos-[0-9a-z]{12}$/)
    expect(c?.id).toMatch(/^nixos-/)
    expect(c?.id).not.toBe(a?.id)
    expect(listing(nix.storeFolder)).toEqual([])
  })

  it('follows the overlays of the network, and the disk of the machine', async () => {
    const withPackages = (overlay: string) =>
      `{ network.nixpkgs = import ${fixtureNixpkgs} { overlays = [ (final: previous: { ${overlay} }) ]; }; a = { }; }`
    const [a] = names
    if (a === undefined) throw new Error('no name')
    const ids = [
      await images(withPackages(''), [a]),
      await images(withPackages('nix = final.hello;'), [a]),
      await images(withPackages(''), [a], { physical: { a: { disk: { ...disk, boot: '/dev/sda' } } } }),
    ].map((found) => found.get(a)?.id)
    expect(new Set(ids).size).toBe(3)
  })

  it('is refused for a platform that no BIOS boots', async () => {
    const [a] = names
    const text = `{ network.nixpkgs = ${fixtureNixpkgs}; a = { nixpkgs.system = "aarch64-linux"; }; }`
    const error = await images(text, a === undefined ? [] : [a]).catch((thrown: unknown) => thrown)
    if (!(error instanceof OpsError)) throw error
    expect(error.message).toBe(
      "machine 'a': image 'nixos' exists for x86_64-linux only, and the machine is aarch64-linux",
    )
    expect(error.hint).toContain('options of the provider')
    expect(error.exitCode).toBe(2)
  })
})

it('a machine on QEMU gets the drivers of its disk beside its own ones', async () => {
  nix.write(
    'hydra.nix',
    `{ network.nixpkgs = ${fixtureNixpkgs}; a = { config, ... }: {
      boot.initrd.availableKernelModules = [ "own" ]; deployment.tags = config.boot.initrd.availableKernelModules; }; }`,
  )
  const evaluated = await nix.evaluate('hydra.nix', { mode: 'shape', physical: { a: { disk } } })
  const tags = [...evaluated.machines.values()].flatMap(({ options }) => options.tags)
  expect([...tags].sort()).toEqual(['own', 'virtio_blk'])
})
