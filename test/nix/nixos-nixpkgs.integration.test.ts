import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bootable, machineOf, tagsOf } from './nixos-networks.js'
import {
  builtInProviders,
  createNixSandbox,
  fixtureNixpkgs,
  type NixSandbox,
  oldNixpkgs,
} from './real-nix.js'

let nix: NixSandbox
beforeEach(() => {
  nix = createNixSandbox('', builtInProviders)
})
afterEach(() => nix.dispose())

describe('the nixpkgs of a NixOS machine', () => {
  const release = 'deployment.tags = [ config.system.nixos.release pkgs.stdenv.hostPlatform.system ];'

  it.each([
    ['a path', `network.nixpkgs = ${fixtureNixpkgs};`, '24.11'],
    ['a text', `network.nixpkgs = "${fixtureNixpkgs}";`, '24.11'],
    ['a set', `network.nixpkgs = import ${fixtureNixpkgs} { };`, '24.11'],
    ['a function', `network.nixpkgs = import ${fixtureNixpkgs};`, '24.11'],
    ['a fetched folder', `network.nixpkgs = { outPath = "${fixtureNixpkgs}"; };`, '24.11'],
    ["Colmena's meta", `meta.nixpkgs = ${fixtureNixpkgs};`, '24.11'],
    ["Morph's network.pkgs", `network.pkgs = import ${fixtureNixpkgs} { };`, '24.11'],
    [
      'one for the machine',
      `network.nixpkgs = ${fixtureNixpkgs}; network.nodeNixpkgs.web = ${oldNixpkgs};`,
      '17.03',
    ],
    [
      "Morph's evalConfig",
      `network.nixpkgs = ${fixtureNixpkgs}; network.evalConfig = import ${oldNixpkgs}/nixos/lib/eval-config.nix;`,
      '17.03',
    ],
  ])('may be given as %s', async (_, given, expected) => {
    expect((await tagsOf(nix, `{ ${given} web = { config, pkgs, ... }: { ${release} }; }`))[0]).toBe(expected)
  })

  it('is <nixpkgs> where the network names none', async () => {
    nix.write(
      'hydra.nix',
      `{ web = { config, pkgs, lib, ... }: { ${release} deployment.owners = lib.singleton "a"; }; }`,
    )
    const machine = machineOf(
      await nix.evaluate('hydra.nix', { mode: 'shape', searchPath: [`nixpkgs=${oldNixpkgs}`] }),
    )
    expect(machine.options.tags[0]).toBe('17.03')
  })

  it('is missing: the error names both ways, for every machine at once', async () => {
    nix.write('hydra.nix', '{ web = { }; db = { }; }')
    const error = await nix.refusal('hydra.nix')
    expect(error.message).toBe(
      `machines 'db', 'web' (hydra.nix): deployment.os = "nixos" (the default) needs nixpkgs, and this network has none`,
    )
    expect(error.hint).toBe('set network.nixpkgs, add -I nixpkgs=PATH, or set deployment.os = "debian"')
    expect(error.exitCode).toBe(2)
  })

  it('is too new for this Nix', async () => {
    nix.write('pkgs/lib/minver.nix', '"99.0"')
    nix.write('hydra.nix', '{ network.nixpkgs = ./pkgs; web = { }; }')
    const error = await nix.refusal('hydra.nix')
    expect(error.message).toMatch(/network\.nixpkgs needs Nix 99\.0 or newer; this is Nix /)
  })

  it('hands the configuration and overlays of a set on, and the machine adds to them', async () => {
    nix.write(
      'hydra.nix',
      `{ network.nixpkgs = import ${fixtureNixpkgs} { config.allowUnfree = true; overlays = [ (final: previous: { mine = "from the network"; }) ]; };
        web = { pkgs, ... }: { nixpkgs.overlays = [ (final: previous: { own = "\${previous.mine} and the machine"; }) ]; deployment.tags = [ pkgs.own ]; environment.systemPackages = [ pkgs.unfree ]; ${bootable} }; }`,
    )
    const machine = machineOf(await nix.evaluate('hydra.nix'))
    expect(machine.options.tags).toEqual(['from the network and the machine'])
    expect(machine.drvPath).toBeDefined()
  })
})

it('an old release, whose defaults are right behind mkDefault, has the names of machines and clean values too', async () => {
  const text = `{ network.nixpkgs = ${oldNixpkgs};
    web = { nodes, ... }: { deployment.tags = [ nodes.db.config.deployment.targetHost ]; deployment.keys.a = { text = "x"; user = "u"; }; deployment.healthChecks.tcp = [ { port = 80; } ]; };
    db = { }; }`
  nix.write('hydra.nix', text)
  const { options } = machineOf(await nix.evaluate('hydra.nix', { mode: 'shape' }))
  expect(options.tags).toEqual(['db'])
  expect(options.keys.a).toMatchObject({ user: 'u', permissions: '0600' })
  expect(options.healthChecks.tcp).toHaveLength(1)
})

it('evaluations of one machine each give what one evaluation gives, with nodes across and other mistakes told', async () => {
  const small = createNixSandbox('', builtInProviders, () => 1)
  try {
    const text = `{ network.nixpkgs = ${fixtureNixpkgs};
      a = { nodes, ... }: { ${bootable} deployment.tags = [ nodes.c.config.networking.hostName ]; };
      b = { ${bootable} services.ngnix.enable = true; };
      c = { ${bootable} deployment.tags = [ "c" ]; };
      deb = { nodes, ... }: { deployment.os = "debian"; deployment.tags = [ nodes.a.config.networking.hostName ]; };
    }`
    const evaluated = await Promise.all(
      [nix, small].map((sandbox) => {
        sandbox.write('hydra.nix', text)
        return sandbox.evaluate('hydra.nix', { only: ['a', 'c', 'deb'] })
      }),
    )
    const [whole, parts] = evaluated.map(({ machines, failed }) => ({
      machines: new Map(
        [...machines]
          .sort(([left], [right]) => (left < right ? -1 : 1))
          .map(([name, { drvPath }]) => [name, drvPath]),
      ),
      failed: [...(failed?.values() ?? [])].map(({ message }) => message),
    }))
    expect([...(whole?.machines.keys() ?? [])]).toEqual(['a', 'c', 'deb'])
    expect(whole?.failed).toEqual([expect.stringMatching(/^machine 'b' .*services\.ngnix/)])
    expect(parts).toEqual(whole)
    const evaluations = (sandbox: NixSandbox) =>
      sandbox.started.filter((program) => program === 'nix-instantiate').length
    expect([evaluations(nix), evaluations(small)]).toEqual([2, 4])
  } finally {
    await small.dispose()
  }
})
