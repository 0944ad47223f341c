import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bootable, machineOf } from './nixos-networks.js'
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

const releases = [
  ['of today', fixtureNixpkgs],
  ['of 2017', oldNixpkgs],
] as const

/** Evaluates a NixOS machine with these definitions. */
function evaluating(definitions: string, nixpkgs: string) {
  nix.write(
    'hydra.nix',
    `{ network.nixpkgs = ${nixpkgs}; web = { config, resources, ... }: { ${bootable} ${definitions} }; }`,
  )
  return { evaluate: () => nix.evaluate('hydra.nix'), refusal: () => nix.refusal('hydra.nix') }
}

describe('an option of NixOps, Morph or Colmena', () => {
  const absent: [definition: string, option: string, hint: string][] = [
    [
      'deployment.targetEnv = "libvirtd"; deployment.libvirtd.imageDir = "/x";',
      'libvirtd.imageDir',
      'storagePool',
    ],
    ['deployment.ec2.region = "us-east-1";', 'ec2', 'deployment.targetEnv = "none"'],
    ['deployment.hetzner.mainIPv4 = "192.0.2.1";', 'hetzner', 'deployment.targetEnv = "none"'],
    ['deployment.encryptedLinksTo = [ "db" ];', 'encryptedLinksTo', 'networking.wireguard'],
    ['deployment.autoLuks.secret.device = "/dev/sdb";', 'autoLuks', 'boot.initrd.luks.devices'],
    ['deployment.autoRaid0.big.devices = [ "/dev/sdb" ];', 'autoRaid0', 'fileSystems'],
  ]
  it.each(absent.flatMap((each) => releases.map((release) => [...each, ...release] as const)))(
    'is refused with what to write instead: %s (%s, %s), with a nixpkgs %s',
    async (definition, option, hint, _, nixpkgs) => {
      const refused = await evaluating(definition, nixpkgs).refusal()
      expect(refused.exitCode).toBe(2)
      expect(refused.message).toMatch(
        new RegExp(
          `^machine 'web' \\(hydra\\.nix\\): The option \`deployment\\.${option}.*' .*does not exist`,
        ),
      )
      expect(refused.hint).toContain(hint)
    },
  )

  it.each(releases)('that is misspelled is refused with a nixpkgs %s', async (_, nixpkgs) => {
    for (const [definitions, option] of [
      ['deployment.libvirtd.memorySzie = 4096;', 'deployment.libvirtd.memorySzie'],
      [
        'deployment.targetEnv = "virtualbox"; deployment.virtualbox.vcpus = 2;',
        'deployment.virtualbox.vcpus',
      ],
      ['deployment.healthChecks.htpp = [ ];', 'deployment.healthChecks.htpp'],
      ['deployment.hydra.admni.userName = "alice";', 'deployment.hydra.admni'],
    ] as const) {
      const { message } = await evaluating(definitions, nixpkgs).refusal()
      expect(message).toMatch(new RegExp(`The option \`${option.replaceAll('.', '\\.')}' .*does not exist`))
    }
  })

  it.each(['buildOnly', 'provisionSSHKey', 'replaceUnknownProfiles', 'storeKeysOnMachine'])(
    'is accepted as false, which hydra-ops always does, and refused as true: %s',
    async (option) => {
      const evaluated = await evaluating(`deployment.${option} = false;`, fixtureNixpkgs).evaluate()
      expect(machineOf(evaluated).name).toBe('web')
      const { message } = await evaluating(`deployment.${option} = true;`, fixtureNixpkgs).refusal()
      expect(message).toMatch(
        new RegExp(`^machine 'web' \\(hydra\\.nix\\): deployment\\.${option}: not supported(?:,| as|;) `),
      )
    },
  )

  it('is refused with the same words on a Debian machine', async () => {
    nix.write(
      'hydra.nix',
      '{ web.deployment = { os = "debian"; targetEnv = "libvirtd"; autoLuks.a = { }; libvirtd.imageDir = "/x"; }; }',
    )
    const { message } = await nix.refusal('hydra.nix')
    expect(message).toContain('deployment.autoLuks: unknown option; hydra-ops does not encrypt disks')
    expect(message).toContain(
      'deployment.libvirtd.imageDir: unknown option; the disks are in the state folder',
    )
  })

  it('gives the disk with the system a size alone, as NixOps does', async () => {
    const network = evaluating(
      'deployment.targetEnv = "virtualbox"; deployment.virtualbox.disks = { disk1.size = 20480; data = { port = 1; size = 10240; }; };',
      fixtureNixpkgs,
    )
    expect(machineOf(await network.evaluate()).provider).toMatchObject({ disks: { disk1: { size: 20_480 } } })
  })
})

describe('a resource of NixOps', () => {
  it.each([
    ['sshKeyPairs', 'make one with ssh-keygen'],
    ['commandOutput', 'deployment.keys.NAME.keyCommand'],
    ['ec2KeyPairs', 'hydra-ops makes machines and no other resources'],
  ])(
    'is refused with what to do instead, also where a definition reads the resource: %s',
    async (kind, sentence) => {
      for (const definition of ['', `deployment.tags = [ resources.${kind}.x.publicKey ];`]) {
        nix.write(
          'hydra.nix',
          `{ network.nixpkgs = ${fixtureNixpkgs}; resources.${kind}.x = { }; web = { resources, ... }: { ${bootable} ${definition} }; }`,
        )
        const { message, exitCode } = await nix.refusal('hydra.nix')
        expect(exitCode).toBe(2)
        expect(message).toContain(`resources.${kind}: `)
        expect(message).toContain(sentence)
      }
    },
  )
})

it('the arguments of the network are at deployment.arguments, as in NixOps', async () => {
  nix.write(
    'hydra.nix',
    `{ domain }: { network.nixpkgs = ${fixtureNixpkgs}; web = { config, ... }: { ${bootable} deployment.tags = [ config.deployment.arguments.domain ]; }; }`,
  )
  const evaluated = await nix.evaluate('hydra.nix', { args: { domain: '"example.org"' } })
  expect(machineOf(evaluated).options.tags).toEqual(['example.org'])
})

describe('an address that only a running machine has', () => {
  it.each(['privateIPv4', 'publicIPv4'])('is null, and a text with it gets a hint: %s', async (option) => {
    nix.write(
      'hydra.nix',
      `{ network.nixpkgs = ${fixtureNixpkgs};
         db = { ${bootable} deployment.targetHost = "db.example.org"; };
         web = { nodes, ... }: { ${bootable}
           environment.etc.db.text = "${'$'}{nodes.db.config.networking.${option}} db";
         }; }`,
    )
    const { message, hint } = await nix.refusal('hydra.nix', { mode: 'read' })
    expect(message).toMatch(/^machine 'web' \(hydra\.nix:4:\d+\): cannot coerce null to a string/)
    expect(hint).toContain(`define networking.${option} of that machine`)
  })

  it('gets no hint where another null is not text', async () => {
    nix.write(
      'hydra.nix',
      `{ network.nixpkgs = ${fixtureNixpkgs}; web = { ${bootable} environment.etc.db.text = "${'$'}{null}"; }; }`,
    )
    expect((await nix.refusal('hydra.nix', { mode: 'read' })).hint).toBeUndefined()
  })
})
