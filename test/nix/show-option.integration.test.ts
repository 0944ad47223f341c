import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createOptionReader } from '../../nix/show-option.js'
import type { PhysicalMachine, ShownOption } from '../../src/core/nix.js'
import { bootable, network } from './nixos-networks.js'
import { builtInProviders, createNixSandbox, listing, type NixSandbox, oldNixpkgs } from './real-nix.js'

let nix: NixSandbox
beforeEach(() => {
  nix = createNixSandbox('', builtInProviders)
})
afterEach(() => nix.dispose())

interface Asked {
  readonly machine?: string
  readonly physical?: Readonly<Record<string, PhysicalMachine>>
}

/** Returns the answers of all machines, or of one. */
async function answers(
  text: string,
  path: readonly string[],
  { machine, physical }: Asked = {},
): Promise<Record<string, ShownOption>> {
  const file = nix.write('hydra.nix', text)
  const show = createOptionReader({ command: nix.command, providers: builtInProviders, cwd: nix.folder })
  const { shown } = await show(
    {
      files: [file],
      searchPath: [],
      args: {},
      deployment: { uuid: '8a4b1f2c-0000-4000-8000-000000000000', name: 'lab' },
      physical: physical ?? {},
      mode: 'shape',
      flags: { showTrace: false, options: [] },
    },
    { path, machine, physical: physical !== undefined },
    { signal: new AbortController().signal, log: () => {} },
  )
  return Object.fromEntries(shown)
}

const web = (definitions: string) =>
  `{ ${network} web = { config, lib, pkgs, ... }: { ${bootable} ${definitions} }; }`

describe('show-option of a NixOS machine', () => {
  it('gives the value and the definitions that count, with their files', async () => {
    nix.write('more.nix', '{ networking.firewall.allowedTCPPorts = [ 443 ]; }')
    const text = web('imports = [ ./more.nix ]; networking.firewall.allowedTCPPorts = [ 80 ];')
    const { web: shown } = await answers(text, ['networking', 'firewall', 'allowedTCPPorts'])
    if (shown?.kind !== 'option') throw new Error('no option')
    expect(shown.value).toEqual(expect.arrayContaining([80, 443]))
    expect(shown.isDefault).toBe(false)
    expect(shown.definitions).toHaveLength(2)
    expect(shown.definitions).toEqual(
      expect.arrayContaining([
        { file: `${nix.folder}/hydra.nix`, value: [80] },
        { file: `${nix.folder}/more.nix`, value: [443] },
      ]),
    )
    expect(listing(nix.storeFolder)).toEqual([])
  })

  it('tells a default from a definition', async () => {
    const { web: shown } = await answers(web(''), ['services', 'hydra', 'port'])
    expect(shown).toMatchObject({ kind: 'option', value: 3000, isDefault: true })
  })

  it('follows a path into an option, and gives its parts of the definitions alone', async () => {
    const text = web(
      'services.nginx.virtualHosts."a.b".locations."/".proxyPass = "http://x"; services.nginx.virtualHosts.other = lib.mkIf true { };',
    )
    const { web: shown } = await answers(text, [
      'services',
      'nginx',
      'virtualHosts',
      'a.b',
      'locations',
      '/',
      'proxyPass',
    ])
    expect(shown).toMatchObject({ value: 'http://x', definitions: [{ value: 'http://x' }] })
  })

  it('lists the options below a set, and the known names where there is nothing', async () => {
    expect((await answers(web(''), ['services', 'postfix'])).web).toMatchObject({
      kind: 'set',
      names: expect.arrayContaining(['enable', 'setSendmail']),
    })
    expect((await answers(web(''), ['services', 'ngnix', 'enable'])).web).toMatchObject({
      kind: 'absent',
      at: ['services'],
      known: expect.arrayContaining(['nginx']),
    })
  })

  it('never shows a secret, in a value or in a definition', async () => {
    const text =
      web(`deployment.keys.a.text = "hush-a"; deployment.keys.b = "hush-b"; deployment.keys.c.keyCommand = [ "echo" "hush-c" ];
      users.users.eve = { isNormalUser = true; password = "hush-d"; hashedPassword = "hush-e"; };`)
    for (const path of [
      ['deployment', 'keys'],
      ['deployment'],
      ['users', 'users'],
      ['deployment', 'keys', 'a', 'text'],
      ['deployment', 'keys', 'b'],
    ]) {
      const shown = JSON.stringify(await answers(text, path))
      expect(shown, path.join('.')).not.toContain('hush')
    }
    const { web: user } = await answers(text, ['users', 'users', 'eve'])
    expect(user).toMatchObject({ value: { password: '<secret>', isNormalUser: true } })
  })

  it('ends at packages, functions, errors and endless sets', async () => {
    const text = web(
      'systemd.tmpfiles.rules = [ ]; environment.systemPackages = [ pkgs.hello ]; users.users.eve.shell = throw "no shell"; systemd.timers.x = let loop = { inherit loop; f = x: x; }; in loop;',
    )
    expect((await answers(text, ['environment', 'systemPackages'])).web).toMatchObject({
      value: ['<package hello>'],
    })
    expect((await answers(text, ['users', 'users', 'eve', 'shell'])).web).toMatchObject({ value: '<error>' })
    const { web: loop } = await answers(text, ['systemd', 'timers', 'x'])
    expect(JSON.stringify(loop)).toContain('"f":"<function>"')
    expect(JSON.stringify(loop)).toContain('"<set>"')
  })

  it('answers for every machine, or for the one that was named, with a nixpkgs of 2017 too', async () => {
    const text = `{ network.nixpkgs = ${oldNixpkgs}; a = { networking.domain = "a.b"; }; b = { }; deb.deployment.os = "debian"; }`
    const all = await answers(text, ['networking', 'domain'])
    expect(Object.entries(all).map(([name, shown]) => [name, shown.kind])).toEqual([
      ['a', 'option'],
      ['b', 'option'],
      ['deb', 'other'],
    ])
    expect(Object.keys(await answers(text, ['networking', 'domain'], { machine: 'b' }))).toEqual(['b'])
  })
})

describe('the facts of the provider', () => {
  const disk = { boot: '/dev/vda', root: '/dev/disk/by-label/nixos', rootType: 'ext4' }
  const physical = { web: { privateIPv4: '192.168.9.2', hostKey: 'ssh-ed25519 AAAA', disk } }

  it('make a machine without a disk of its own bootable, and its ssh server answers', async () => {
    nix.write(
      'hydra.nix',
      `{ ${network} web = { config, ... }: { deployment.tags = [ config.fileSystems."/".device config.boot.loader.grub.device (if config.services.openssh.enable then "ssh" else "none") ]; }; }`,
    )
    const evaluated = await nix.evaluate('hydra.nix', { physical, mode: 'write' })
    const [machine] = evaluated.machines.values()
    expect(machine?.options.tags).toEqual(['/dev/disk/by-label/nixos', '/dev/vda', 'ssh'])
    expect(machine?.drvPath).toBeDefined()
  })

  it('are shown as definitions, each with whether it counts', async () => {
    const text = `{ ${network} web = { lib, ... }: { boot.loader.grub.device = "nodev"; fileSystems."/".device = lib.mkDefault "/dev/vdb1"; }; }`
    const { web: shown } = await answers(text, [], { physical })
    if (shown?.kind !== 'facts') throw new Error('no facts')
    expect(
      shown.facts.map(({ option, value, priority, counts }) => [option.join('.'), value, priority, counts]),
    ).toEqual([
      ['networking.hostKey', 'ssh-ed25519 AAAA', 1000, true],
      ['networking.privateIPv4', '192.168.9.2', 1000, true],
      ['boot.loader.grub.device', '/dev/vda', 1499, false],
      ['fileSystems./.device', '/dev/disk/by-label/nixos', 1499, false],
      ['fileSystems./.fsType', 'ext4', 1499, true],
      ['services.openssh.enable', true, 1499, true],
    ])
  })

  it('mean nothing to a Debian machine', async () => {
    nix.write(
      'hydra.nix',
      '{ web = { config, ... }: { deployment.os = "debian"; deployment.tags = [ (toString (config.networking ? disk)) ]; }; }',
    )
    const evaluated = await nix.evaluate('hydra.nix', { physical, mode: 'shape' })
    expect([...evaluated.machines.values()][0]?.options.tags).toEqual([''])
  })
})
