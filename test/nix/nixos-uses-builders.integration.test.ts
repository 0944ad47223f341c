import { execFileSync } from 'node:child_process'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bootable, machineOf, wholeHydra } from './nixos-networks.js'
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

const ownList = '@/etc/nix/hydra-ops-machines'

/** Evaluates a machine for which others build (or not), and returns its nix.conf. */
async function nixConf(definitions: string, nixpkgs = fixtureNixpkgs, usesBuilders = true): Promise<string> {
  nix.write(
    'hydra.nix',
    `{ network.nixpkgs = ${nixpkgs}; web = { config, lib, ... }: { ${bootable} ${definitions}
      deployment.owners = [ config.environment.etc."nix/nix.conf".text ]; }; }`,
  )
  const physical = { web: { usesBuilders } }
  const found = await nix.evaluate('hydra.nix', { mode: 'write', physical })
  return machineOf(found).options.owners[0] ?? ''
}

/** Returns the value of a setting in a nix.conf, as the real Nix reads it. */
function settingIn(conf: string, name: string): string | undefined {
  nix.write('conf/nix.conf', `${conf}\nextra-experimental-features = nix-command\n`)
  const shown = execFileSync('nix', ['show-config'], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, HOME: nix.folder, NIX_CONF_DIR: `${nix.folder}/conf` },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return new RegExp(`^${name} = (.*)$`, 'm').exec(shown)?.[1]
}

describe.each([
  ['of today', fixtureNixpkgs],
  ['of 2017', oldNixpkgs],
])('the Nix of a NixOS machine %s for which others build', (_, nixpkgs) => {
  it('reads the list of the set-up task, and lets builders fetch for themselves', async () => {
    const conf = await nixConf('', nixpkgs)
    expect(settingIn(conf, 'builders')).toBe(ownList)
    expect(settingIn(conf, 'builders-use-substitutes')).toBe('true')
    expect(conf).toMatch(/^!include \/etc\/nix\/hydra-ops-caches\.conf$/m)
  })

  it('also reads the list of nix.buildMachines', async () => {
    const conf = await nixConf('nix.distributedBuilds = true;', nixpkgs)
    expect(settingIn(conf, 'builders')).toBe(`@/etc/nix/machines;${ownList}`)
  })

  it('follows a line of the user, which comes later', async () => {
    const own = 'nix.extraOptions = "builders = @/etc/mine\\nbuilders-use-substitutes = false";'
    const conf = await nixConf(own, nixpkgs)
    expect(settingIn(conf, 'builders')).toBe('@/etc/mine')
    expect(settingIn(conf, 'builders-use-substitutes')).toBe('false')
  })

  it('has no such line once nobody builds for the machine', async () => {
    const conf = await nixConf('', nixpkgs, false)
    expect(settingIn(conf, 'builders')).toBe('')
    expect(conf).not.toContain('builders-use-substitutes')
    expect(conf).not.toContain('!include')
  })
})

it("the Nix of a NixOS machine also reads the lists of the user's settings", async () => {
  const own = 'nix.distributedBuilds = true; nix.settings.builders = "@/etc/one;@/etc/two";'
  expect(settingIn(await nixConf(own), 'builders')).toBe(`@/etc/one;@/etc/two;${ownList}`)
})

describe('a Hydra on NixOS for which others build', () => {
  const warningsOf = async (definitions: string) => {
    nix.write(
      'hydra.nix',
      `{ network.nixpkgs = ${fixtureNixpkgs}; web = { config, ... }: { ${bootable} ${definitions}
        deployment.owners = [ config.environment.etc."nix/nix.conf".text ] ++ config.warnings; }; }`,
    )
    const found = await nix.evaluate('hydra.nix', {
      mode: 'write',
      physical: { web: { usesBuilders: true } },
    })
    const [conf, ...warnings] = machineOf(found).options.owners
    expect(conf).not.toContain(ownList)
    expect(conf).toContain('!include /etc/nix/hydra-ops-caches.conf\n')
    return warnings
  }

  it('leaves the list to the queue runner, which reads the list beside its own', async () => {
    expect(await warningsOf(wholeHydra)).toEqual([])
  })

  it('is reported if the queue runner reads no list', async () => {
    const hydra = 'deployment.hydra = { enable = true; hostName = "hydra.example.org"; };'
    expect(await warningsOf(hydra)).toEqual([
      expect.stringMatching(
        /^deployment\.builder\.for: the queue runner reads \/etc\/hydra\/builders only beside/,
      ),
    ])
  })
})
