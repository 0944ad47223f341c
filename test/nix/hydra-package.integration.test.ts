import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { StorePath } from '../../src/core/names.js'
import { debianDefinition } from '../../src/systems/debian/definition.js'
import { createNixSandbox, type NixSandbox } from './real-nix.js'

let nix: NixSandbox
beforeAll(() => {
  nix = createNixSandbox()
})
afterAll(() => nix.dispose())

const made = (name: string) =>
  `derivation { name = "${name}"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "mkdir $out" ]; }`

async function machine(hydra: string, network = '') {
  nix.write('hydra.nix', `{ ${network} ci = { deployment = { os = "debian"; hydra = { ${hydra} }; }; }; }`)
  const { machines } = await nix.evaluate('hydra.nix')
  const found = [...machines.values()][0]
  if (found === undefined) throw new Error('no machine')
  return debianDefinition(found)
}

async function outPath(hydra: string): Promise<StorePath | undefined> {
  return (await machine(hydra)).outPath
}

describe('the package of Hydra', () => {
  it('is reported as its future path', async () => {
    const { options } = await machine(`enable = true; package = ${made('hydra-1')};`)
    expect(options.hydra.package).toMatch(/^\/nix\/store\/[0-9a-z]{32}-hydra-1$/)
  })

  it('is part of the machine’s closure, and of nothing when no Hydra is enabled', async () => {
    const without = await outPath('enable = true;')
    const first = await outPath(`enable = true; package = ${made('hydra-1')};`)
    const second = await outPath(`enable = true; package = ${made('hydra-2')};`)
    expect(new Set([without, first, second]).size).toBe(3)
    expect(await outPath(`package = ${made('hydra-1')};`)).toBe(without)
  })

  it('may be the same package that has nix-serve too', async () => {
    const both = `enable = true; package = ${made('all')}; nixServe = { enable = true; package = ${made('all')}; };`
    expect((await machine(both)).options.hydra.nixServe.package).toMatch(/-all$/)
  })

  it('that serves the store is nix-serve-ng where nixpkgs has both', async () => {
    const of = async (...names: string[]) => {
      const parts = names.map((name) => `${name} = ${made(name)};`).join(' ')
      const network = `network.pkgs = { lib = { }; ${parts} };`
      return (await machine('enable = true;', network)).options.hydra.nixServe.package
    }
    expect(await of('nix-serve', 'nix-serve-ng')).toMatch(/-nix-serve-ng$/)
    expect(await of('nix-serve')).toMatch(/-nix-serve$/)
  })

  it('comes from nixpkgs when one exists and no package was given', async () => {
    const network = `network.pkgs = { lib = { }; hydra = ${made('hydra-of-nixpkgs')}; };`
    expect((await machine('enable = true;', network)).options.hydra.package).toMatch(/-hydra-of-nixpkgs$/)
    expect((await machine('enable = true;')).options.hydra.package).toBeNull()
  })

  it('joins all packages of nixpkgs that make up a Hydra there', async () => {
    // The stand-in for nixpkgs' symlinkJoin puts the number of packages into the result's name.
    const join =
      'symlinkJoin = { name, paths }: derivation { inherit paths; name = name + "-of-" + toString (builtins.length paths); system = builtins.currentSystem; builder = "/bin/sh"; };'
    const packageOf = async (...names: string[]) => {
      const parts = names.map((name) => `${name} = ${made(name)};`).join(' ')
      return (await machine('enable = true;', `network.pkgs = { lib = { }; ${join} ${parts} };`)).options
        .hydra.package
    }
    expect(await packageOf('hydra', 'hydra-queue-runner', 'hydra-builder')).toMatch(/-hydra-of-3$/)
    expect(
      await packageOf('hydra', 'hydra-queue-runner', 'hydra-builder', 'hydra-evaluator', 'other'),
    ).toMatch(/-hydra-of-4$/)
    expect(await packageOf('hydra', 'hydra-builder')).toMatch(/-hydra$/)
  })

  it('follows conditions like every other option', async () => {
    const conditional = `enable = true; package = { _type = "if"; condition = false; content = ${made('never')}; };`
    expect((await machine(conditional)).options.hydra.package).toBeNull()
  })

  it.each([
    ['a number', 'package = 5;', /deployment\.hydra\.package: expected a derivation or a store path, got 5/],
    [
      'a name',
      'package = "hydra";',
      /deployment\.hydra\.package: expected a derivation or a store path, got "hydra"/,
    ],
    ['a password as text', 'admin = { userName = "a"; password = "hunter2"; };', /admin\.password/],
    ['a bad host name', 'hostName = "a b";', /deployment\.hydra\.hostName: expected a host name/],
  ])('is refused when it is %s', async (_, hydra, sentence) => {
    nix.write(
      'bad.nix',
      `{ ci = { deployment = { os = "debian"; hydra = { enable = true; ${hydra} }; }; }; }`,
    )
    const refusal = await nix.refusal('bad.nix')
    expect(refusal.message).toMatch(sentence)
    expect(refusal.message).not.toContain('hunter2')
  })
})
