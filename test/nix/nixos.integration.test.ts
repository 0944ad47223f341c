import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bootable, machineOf, network, tagsOf } from './nixos-networks.js'
import { builtInProviders, createNixSandbox, listing, type NixSandbox } from './real-nix.js'

let nix: NixSandbox
beforeEach(() => {
  nix = createNixSandbox('', builtInProviders)
})
afterEach(() => nix.dispose())

describe('a NixOS machine', () => {
  it('has the toplevel of its nixpkgs as its closure, and an evaluation for reading writes nothing', async () => {
    nix.write(
      'hydra.nix',
      `{ ${network} web = { pkgs, ... }: { ${bootable} environment.systemPackages = [ pkgs.hello ]; deployment.targetEnv = "libvirtd"; deployment.libvirtd.memorySize = 2048; }; }`,
    )
    const shape = machineOf(await nix.evaluate('hydra.nix', { mode: 'shape' }))
    const read = machineOf(await nix.evaluate('hydra.nix', { mode: 'read' }))
    expect(listing(nix.storeFolder)).toEqual([])
    expect(shape).toMatchObject({ os: 'nixos', providerName: 'libvirt', provider: { memorySize: 2048 } })
    expect(shape.drvPath).toBeUndefined()
    const written = machineOf(await nix.evaluate('hydra.nix', { mode: 'write' }))
    expect(written.drvPath).toMatch(/-nixos-system-web-24\.11\.drv$/)
    expect([read.drvPath, read.outPath]).toEqual([written.drvPath, written.outPath])
  })

  it('builds, and has the files that a deploy reads', async () => {
    nix.write('hydra.nix', `{ ${network} web = { ${bootable} system.activationScripts.x = "echo x"; }; }`)
    const { drvPath, outPath } = machineOf(await nix.evaluate('hydra.nix', { mode: 'write' }))
    if (drvPath === undefined || outPath === undefined) throw new Error('no closure')
    const built = await nix.command.run('nix-store', ['-r', drvPath], {
      signal: new AbortController().signal,
      timeoutMs: 60_000,
      what: 'build the closure',
    })
    expect(built).toMatchObject({ kind: 'exited', code: 0 })
    const folder = join(nix.storeFolder, outPath)
    expect(readdirSync(folder)).toEqual(
      expect.arrayContaining([
        'activate',
        'bin',
        'etc',
        'init',
        'initrd',
        'kernel',
        'kernel-modules',
        'nixos-version',
        'sw',
        'systemd',
      ]),
    )
    expect(readFileSync(join(folder, 'nixos-version'), 'utf8')).toBe('24.11')
    expect(readFileSync(join(folder, 'activate'), 'utf8')).toContain('echo x')
    expect(readlinkSync(join(folder, 'kernel'))).toMatch(/-linux\/bzImage$/)
  })

  it('gets the module arguments of NixOps, of Colmena, and those that the network adds', async () => {
    const text = `{ ${network}
      network.specialArgs = { flavour = "sour"; };
      network.nodeSpecialArgs.web = { size = "big"; };
      web = { name, nodes, resources, uuid, deploymentName, flavour, size, lib, pkgs, options, modulesPath, ... }: {
        imports = [ (if flavour == "sour" then { deployment.tags = [ "imported" ]; } else { }) ];
        deployment.tags = [ name deploymentName uuid flavour size resources.machines.db.networking.hostName nodes.db.config.deployment.targetHost ];
      };
      db = { };
    }`
    expect([...(await tagsOf(nix, text))].sort()).toEqual(
      ['8a4b1f2c-0000-4000-8000-000000000000', 'big', 'db', 'db', 'imported', 'lab', 'sour', 'web'].sort(),
    )
  })

  it('may be a list of modules, and joins the defaults of the network', async () => {
    const text = `{ ${network} defaults.deployment.tags = [ "all" ];
      web = [ { deployment.tags = [ "a" ]; } ({ ... }: { deployment.tags = [ "b" ]; }) [ { deployment.tags = [ "c" ]; } ] ]; }`
    expect([...(await tagsOf(nix, text))].sort()).toEqual(['a', 'all', 'b', 'c'])
  })

  it('sees Debian machines in nodes, and Debian machines see it', async () => {
    const text = `{ ${network}
      web = { nodes, ... }: { networking.hostName = "www"; deployment.tags = [ nodes.deb.config.deployment.targetHost ]; };
      deb = { nodes, ... }: { deployment.os = "debian"; deployment.targetHost = "deb.example"; deployment.tags = [ nodes.web.config.networking.hostName ]; };
    }`
    expect(await tagsOf(nix, text)).toEqual(['deb.example'])
    expect(await tagsOf(nix, text, 'deb')).toEqual(['www'])
  })

  it('does not disturb Debian machines, which find it by its allocated address', async () => {
    const physical = { web: { privateIPv4: '192.168.9.2' }, deb: { privateIPv4: '192.168.9.3' } }
    nix.write(
      'hydra.nix',
      `{ ${network}
        web = { config, lib, ... }: { ${bootable} networking = lib.mkIf config.services.nginx.enable { firewall.allowedTCPPorts = [ 80 ]; }; };
        deb = { nodes, ... }: { deployment.os = "debian"; deployment.targetHost = nodes.web.config.networking.privateIPv4; };
      }`,
    )
    const evaluated = await nix.evaluate('hydra.nix', { mode: 'write', physical })
    const { drvPath, options } = machineOf(evaluated, 'deb')
    expect(options.targetHost).toBe('192.168.9.2')
    const manifests = readdirSync(join(nix.storeFolder, 'nix', 'store')).filter((name) =>
      name.endsWith('-hydra-ops-manifest'),
    )
    expect(drvPath).toBeDefined()
    const texts = manifests.map((name) => readFileSync(join(nix.storeFolder, 'nix', 'store', name), 'utf8'))
    expect(texts.join('')).toContain('["host","192.168.9.2","web"]')
  })

  it.each([
    ['nixpkgs.system', 'nixpkgs.system = "aarch64-linux";'],
    ['nixpkgs.localSystem', 'nixpkgs.localSystem.system = "aarch64-linux";'],
    ['nixpkgs.hostPlatform', 'nixpkgs.hostPlatform = "aarch64-linux";'],
    ['nixpkgs.crossSystem', 'nixpkgs.crossSystem.system = "aarch64-linux";'],
  ])('may be of another system, by %s', async (_, definition) => {
    nix.write(
      'hydra.nix',
      `{ ${network} web = { pkgs, ... }: { ${bootable} ${definition} deployment.tags = [ pkgs.stdenv.hostPlatform.system ]; }; }`,
    )
    const machine = machineOf(await nix.evaluate('hydra.nix'))
    expect(machine.options.tags).toEqual(['aarch64-linux'])
    expect(machine.drvPath).toBeDefined()
  })

  it('knows the address and the host key of its allocation, weakly, and finds the others by name', async () => {
    const physical = {
      web: { privateIPv4: '192.168.9.2', hostKey: 'ssh-ed25519 AAAA' },
      db: { privateIPv4: '192.168.9.3' },
    }
    nix.write(
      'hydra.nix',
      `{ ${network}
        web = { config, nodes, ... }: { deployment.tags = [ config.networking.privateIPv4 config.networking.hostKey nodes.db.config.networking.privateIPv4 config.networking.extraHosts ]; };
        db = { networking.privateIPv4 = "10.9.9.9"; };
      }`,
    )
    const { tags } = machineOf(await nix.evaluate('hydra.nix', { mode: 'shape', physical })).options
    expect(tags.slice(0, 3)).toEqual(['192.168.9.2', 'ssh-ed25519 AAAA', '10.9.9.9'])
    expect(tags[3]).toBe('192.168.9.3 db\n192.168.9.2 web\n')
  })

  it('has keys in the forms of NixOps, Colmena and Morph, with their paths', async () => {
    nix.write('secret', 'hush')
    nix.write(
      'hydra.nix',
      `{ ${network} web = { config, ... }: {
        deployment.keys.file.keyFile = ./secret;
        deployment.keys.old = "text of NixOps 1";
        deployment.keys.colmena = { keyCommand = [ "pass" "x" ]; destDir = "/srv/keys"; uploadAt = "post-activation"; };
        deployment.secrets.morph = { source = ./secret; destination = "/srv/morph"; };
        deployment.tags = [ config.deployment.keys.old.path config.deployment.keys.colmena.path ];
      }; }`,
    )
    const { keys, tags } = machineOf(await nix.evaluate('hydra.nix', { mode: 'shape' })).options
    expect(tags).toEqual(['/run/keys/old', '/srv/keys/colmena'])
    expect(Object.keys(keys).sort()).toEqual(['colmena', 'file', 'morph', 'old'])
    expect(keys.file?.keyFile).toMatch(/\/networks\/secret$/)
    expect(keys.old?.text).toBe('text of NixOps 1')
    expect(keys.morph).toMatchObject({ destDir: '/srv', name: 'morph', permissions: '0400' })
  })

  it('leaves secrets and images out of the store', async () => {
    nix.write('secret', 'the-words-of-the-secret')
    nix.write('disk.qcow2', 'the-bytes-of-the-image')
    nix.write(
      'hydra.nix',
      `{ ${network} web = { ${bootable} deployment.targetEnv = "libvirtd"; deployment.libvirtd.baseImage = ./disk.qcow2; deployment.keys.a.keyFile = ./secret; deployment.keys.b.text = "the-words-of-the-text"; }; }`,
    )
    const machine = machineOf(await nix.evaluate('hydra.nix', { mode: 'write' }))
    expect(machine.provider).toEqual({ baseImage: expect.stringMatching(/\/networks\/disk\.qcow2$/) })
    const files = readdirSync(nix.storeFolder, { recursive: true, withFileTypes: true })
    expect(files.map(({ name }) => name).filter((name) => /secret|qcow2/.test(name))).toEqual([])
    const texts = files
      .filter((file) => file.isFile() && !file.name.includes('db'))
      .map((file) => readFileSync(join(file.parentPath, file.name), 'latin1'))
    expect(texts.some((text) => /the-(?:words|bytes)-of/.test(text))).toBe(false)
    expect(texts.length).toBeGreaterThan(5)
  })
})

describe('the mistakes of a NixOS machine', () => {
  const cases: readonly [string, string, RegExp][] = [
    [
      'an undeclared option',
      'services.ngnix.enable = true;',
      /^machine 'web' \(hydra\.nix\): The option `services\.ngnix' does not exist\. Definition values: - In `hydra\.nix'/,
    ],
    [
      'a wrong type of an option of NixOS',
      'boot.loader.grub.enable = "yes";',
      /^machine 'web' \(hydra\.nix\): A definition for option `boot\.loader\.grub\.enable' is not of type `boolean'\. Definition values: - In `hydra\.nix': "yes"/,
    ],
    [
      'two different values',
      'imports = [ { networking.domain = "a"; } { networking.domain = "b"; } ];',
      /^machine 'web' \(hydra\.nix\): The option `networking\.domain' has conflicting definition values:/,
    ],
    [
      'a list in the place of a text',
      'networking.extraHosts = [ "a" ];',
      /^machine 'web' \(hydra\.nix\): A definition for option `networking\.extraHosts' is not of type/,
    ],
    [
      'an option of Debian machines',
      'deployment.aptPackages = [ "jq" ];',
      /^machine 'web' \(hydra\.nix\): deployment\.aptPackages: a NixOS machine does not have this option; use environment\.systemPackages$/,
    ],
    [
      'files of Debian machines',
      'deployment.files."/etc/x".text = "x";',
      /deployment\.files: a NixOS machine does not have this option; use environment\.etc or systemd\.tmpfiles\.rules$/,
    ],
    [
      'an undeclared option of Hydra',
      'deployment.hydra.enabel = true;',
      /^machine 'web' \(hydra\.nix\): The option `deployment\.hydra\.enabel' does not exist/,
    ],
    [
      'a wrong type of an option of ours',
      'deployment.libvirtd.memorySize = "4G"; deployment.targetEnv = "libvirtd";',
      /^machine 'web' \(hydra\.nix\): deployment\.libvirtd\.memorySize: expected a number, got "4G"$/,
    ],
    [
      'an unknown provider',
      'deployment.targetEnv = "libvrtd";',
      /^machine 'web' \(hydra\.nix\): deployment\.targetEnv: unknown provider "libvrtd"; did you mean 'libvirtd'\?$/,
    ],
    [
      'a missing import',
      'imports = [ ./absent.nix ];',
      /^machine 'web' \(hydra\.nix.*\): absent\.nix does not exist$/,
    ],
    [
      'a throw',
      'networking.domain = throw "no domain yet";',
      /^machine 'web' \(hydra\.nix.*\): .*no domain yet$/,
    ],
    [
      'an undefined attribute',
      'networking.domain = config.networkin.hostName;',
      /^machine 'web' \(hydra\.nix:\d+:\d+\): attribute 'networkin' missing$/,
    ],
    [
      'a missing module argument',
      'imports = [ ({ flavour, ... }: { networking.domain = flavour; }) ];',
      /^machine 'web' \(hydra\.nix.*\): attribute 'flavour' missing$/,
    ],
  ]

  it.each(cases)('are reported with machine and file: %s', async (_, definition, sentence) => {
    nix.write(
      'hydra.nix',
      `{ ${network} web = { config, ... }: { ${bootable} environment.etc.d.text = toString config.networking.domain;\n ${definition} }; }`,
    )
    const error = await nix.refusal('hydra.nix', { mode: 'write' })
    expect(error.message).toMatch(sentence)
    expect(error.exitCode).toBe(2)
    expect(listing(nix.storeFolder)).toEqual([])
  })

  it('are reported all at once where they are wrong values of our options', async () => {
    nix.write(
      'hydra.nix',
      `{ ${network} web = { ${bootable} deployment = { targetPort = "x"; tags = "y"; libvirtd.vcpu = 0; targetEnv = "libvirtd"; packages = [ ]; }; }; }`,
    )
    const { message } = await nix.refusal('hydra.nix')
    expect(message.split('\n').map((line) => line.replace("machine 'web' (hydra.nix): ", ''))).toEqual([
      'deployment.packages: a NixOS machine does not have this option; use environment.systemPackages',
      'deployment.targetPort: expected a number, got "x"',
      'deployment.tags: expected a list, got "y"',
      'deployment.libvirtd.vcpu: expected a number of at least 1, got 0',
    ])
  })

  it('tell failed assertions of modules with their files, all of them', async () => {
    nix.write('part.nix', '{ assertions = [ { assertion = false; message = "the moon is not full"; } ]; }')
    nix.write(
      'hydra.nix',
      `{ ${network} web = { imports = [ ./part.nix ]; fileSystems."/".device = "/dev/vda1"; }; }`,
    )
    const { message } = await nix.refusal('hydra.nix')
    expect(message.split('\n')).toEqual([
      "machine 'web' (part.nix): failed assertion: the moon is not full",
      expect.stringMatching(
        /^machine 'web' \(.*machine\.nix\): failed assertion: You must set the option .boot\.loader\.grub\.devices/,
      ),
    ])
  })

  it('of one machine hide those of no other, and count only for selected machines', async () => {
    nix.write(
      'hydra.nix',
      `{ ${network}
        web = { ${bootable} services.ngnix.enable = true; };
        db = { ${bootable} deployment.tags = "x"; };
        mail = { config, ... }: { ${bootable} networking.domain = config.nothing; environment.etc.x.text = config.networking.domain; };
        good = { ${bootable} };
      }`,
    )
    const { message } = await nix.refusal('hydra.nix')
    expect(message).toMatch(/machine 'web' .*services\.ngnix/)
    expect(message).toMatch(/machine 'db' .*deployment\.tags: expected a list/)
    expect(message).toMatch(/machine 'mail' .*attribute 'nothing' missing/)
    const evaluated = await nix.evaluate('hydra.nix', { only: ['good'] })
    expect(machineOf(evaluated, 'good').drvPath).toBeDefined()
    expect([...(evaluated.failed?.keys() ?? [])].sort()).toEqual(['db', 'web'])
  })

  it('never show a secret', async () => {
    nix.write(
      'hydra.nix',
      `{ ${network} web = { ${bootable} deployment.keys.a = [ "hush" ]; deployment.keys.b = { text = "hush"; user = 5; }; }; }`,
    )
    const { message } = await nix.refusal('hydra.nix')
    expect(message).not.toContain('hush')
    expect(message).toMatch(/deployment\.keys/)
  })

  it('do not keep other modules from warning: each warning has its machine and file, once', async () => {
    nix.write(
      'hydra.nix',
      `{ ${network} web = { ${bootable} nix.trustedUsers = [ "me" ]; warnings = [ "take care" ]; }; }`,
    )
    await nix.evaluate('hydra.nix', { mode: 'write' })
    expect(nix.logged.filter((line) => /take care|trustedUsers/.test(line))).toEqual([
      "warning: machine 'web' (hydra.nix): take care",
      expect.stringMatching(
        /^warning: machine 'web'.*: The option `nix\.trustedUsers' defined in `hydra\.nix' has been renamed to `nix\.settings\.trusted-users'\.$/,
      ),
    ])
  })
})

it('an expression decides the kind of a machine in an import, behind lib, and in the defaults', async () => {
  nix.write('kind.nix', '{ lib, ... }: lib.mkMerge [ { deployment.os = lib.mkDefault "debian"; } ]')
  nix.write(
    'hydra.nix',
    `{ ${network} defaults = { lib, ... }: { deployment.os = lib.mkDefault "nixos"; };
      web = { lib, options, ... }: { deployment = lib.mkIf (options ? services) { tags = [ "x" ]; }; };
      deb.imports = [ ./kind.nix { deployment.os = "debian"; } ];
      odd = { options, ... }: { config = if options.services ? hydra then { deployment.tags = [ "hydra" ]; } else { }; };
    }`,
  )
  const evaluated = await nix.evaluate('hydra.nix', { mode: 'shape' })
  expect([...evaluated.machines].map(([name, { os }]) => `${name} ${os}`).sort()).toEqual([
    'deb debian',
    'odd nixos',
    'web nixos',
  ])
})
