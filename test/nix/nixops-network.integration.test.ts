import { homedir } from 'node:os'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { logical, machineOf, physicalFiles as physical, nixopsSystem as system } from './nixos-networks.js'
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

const cases = (['libvirt', 'virtualbox'] as const).flatMap((provider) =>
  [
    ['of today', fixtureNixpkgs],
    ['of 2017', oldNixpkgs],
  ].map(([release = '', path = '']) => [provider, release, path] as const),
)

describe('the two files of a NixOps network with its own Hydra', () => {
  it.each(cases)('evaluate unchanged on %s with a nixpkgs %s', async (provider, _, nixpkgs) => {
    nix.write('hydra.nix', logical(system))
    nix.write('hydra-physical.nix', `{ my-hydra = { ${physical[provider]} }; }`)
    const evaluated = await nix.evaluate(['hydra.nix', 'hydra-physical.nix'], {
      searchPath: [`nixpkgs=${nixpkgs}`],
      mode: 'write',
    })
    const machine = machineOf(evaluated, 'my-hydra')
    expect(evaluated.description).toBe('Hydra')
    expect(machine).toMatchObject({ os: 'nixos', providerName: provider, provider: { memorySize: 2048 } })
    expect(machine.drvPath).toMatch(/-nixos-system-my-hydra-/)
    expect(nix.logged.join('\n')).not.toContain(homedir() === '/' ? '\0' : `${homedir()}/.ssh/id_rsa`)
  })

  it('warn of their traps, and of old names on a new nixpkgs alone, each with the machine', async () => {
    nix.write('hydra.nix', logical(system))
    const warnings = async (nixpkgs: string) => {
      nix.logged.splice(0)
      await nix.evaluate('hydra.nix', { searchPath: [`nixpkgs=${nixpkgs}`] })
      return nix.logged.filter((line) => line.startsWith("warning: machine 'my-hydra'"))
    }
    const traps = [
      `nix.gc.dates: "15 3 * * *" is a cron line, which systemd ignores, so nothing ever runs; write nix.gc.dates = "*-*-* 3:15:00";`,
      'nix.trustedUsers: the list replaces the default, and root is no longer trusted; add "root" to the list',
    ]
    expect(await warnings(oldNixpkgs)).toEqual(
      traps.map((text) => `warning: machine 'my-hydra' (hydra.nix): ${text}`),
    )
    const told = await warnings(fixtureNixpkgs)
    expect(told).toContain(
      "warning: machine 'my-hydra' (hydra.nix): nix.buildMachines: localhost becomes ssh://localhost, so Hydra logs in to its own machine to build; add protocol = null; to the builder",
    )
    const old = [
      'nix.trustedUsers',
      'services.openssh.passwordAuthentication',
      'services.openssh.permitRootLogin',
    ]
    for (const name of [...old, 'services.nixosManual.enable']) {
      expect(
        told.filter((line) => line.includes(`\`${name}'`)),
        name,
      ).toHaveLength(1)
    }
  })

  it('keep the mistakes of the release: an option that it lacks is an error of nixpkgs, not of hydra-ops', async () => {
    nix.write('hydra.nix', logical(`${system} nix.settings.cores = 2;`))
    const old = await nix.refusal('hydra.nix', { searchPath: [`nixpkgs=${oldNixpkgs}`] })
    expect(old.message).toMatch(
      /^machine 'my-hydra' \(hydra\.nix\): The option `nix\.settings' defined in `hydra\.nix' does not exist/,
    )
    expect(old.hint).toBe('releases before 22.05 have nix.trustedUsers, nix.maxJobs and nix.extraOptions')
    const today = await nix.evaluate('hydra.nix', { searchPath: [`nixpkgs=${fixtureNixpkgs}`] })
    expect(machineOf(today, 'my-hydra').drvPath).toBeDefined()
  })
})
