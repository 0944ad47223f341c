import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { EvaluationRequest } from '../../src/core/nix.js'
import { commitAll, git, type HydraHost, hydraHost, writeJobs } from './network-in-git.js'
import { bootable, machineOf } from './nixos-networks.js'
import { builtInProviders, createNixSandbox, fixtureNixpkgs, type NixSandbox } from './real-nix.js'

let nix: NixSandbox
let hydra: HydraHost
beforeEach(() => {
  nix = createNixSandbox('', builtInProviders)
  hydra = hydraHost()
})
afterEach(async () => {
  await nix.dispose()
  await hydra.dispose()
})

/** Records of two machines in a state. */
const machines = {
  web: {
    ...{ privateIPv4: '10.20.0.2', publicIPv4: '127.0.0.1', hostKey: 'ssh-ed25519 AAAAweb' },
    disk: { boot: '/dev/vda', root: '/dev/vda1', rootType: 'ext4' },
  },
  db: { privateIPv4: '10.20.0.3', hostKey: 'ssh-ed25519 AAAAdb' },
}

const searchPath = [`nixpkgs=${fixtureNixpkgs}`]

/** Returns the path of the derivation that a deploy would build for a machine. */
async function deployed(
  files: readonly string[],
  name: string,
  wanted: Partial<Pick<EvaluationRequest, 'args' | 'checkout'>> = { checkout: nix.folder },
): Promise<string | undefined> {
  const found = await nix.evaluate(files, { mode: 'write', physical: machines, searchPath, ...wanted })
  return machineOf(found, name).drvPath
}

function write(files: Readonly<Record<string, string>>): string[] {
  for (const [name, text] of Object.entries(files)) nix.write(name, text)
  const networks = Object.keys(files).filter((name) => name.endsWith('.nix') && !name.includes('/'))
  writeJobs(nix.folder, networks, { machines })
  commitAll(nix.folder)
  return networks
}

const layouts: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  [
    'ours',
    {
      'hydra.nix': `{
        network.nixpkgs = import <nixpkgs> { };
        network.hydra = { url = "https://hydra.example.org"; project = "infra"; jobset = "main"; };
        web = { pkgs, nodes, ... }: {
          ${bootable}
          deployment.autoUpdate.enable = true;
          environment.etc.source.text = "\${./.} \${./files/motd} \${nodes.db.config.networking.privateIPv4}";
          environment.systemPackages = [ pkgs.hello ];
        };
        db = { pkgs, ... }: {
          deployment.os = "debian";
          deployment.packages = [ pkgs.hello ];
          deployment.files."/etc/motd".source = ./files/motd;
          deployment.files."/etc/whole".text = "\${./files} " + builtins.readFile ./files/motd;
        };
      }`,
      'files/motd': 'welcome\n',
    },
  ],
  [
    "NixOps'",
    {
      'logical.nix': `{
        network.description = "Fleet";
        require = [ ./more/common.nix ];
        web = { config, pkgs, ... }: {
          environment.etc.hosts-of.text = "\${config.networking.privateIPv4} \${config.deployment.name} \${config.deployment.uuid} \${./more}";
          services.nginx.enable = true;
        };
        db = { nodes, ... }: { environment.etc.web.text = nodes.web.config.networking.hostKey; };
      }`,
      'physical.nix': `let libvirt = { deployment.targetEnv = "libvirtd"; deployment.libvirtd.memorySize = 2048; ${bootable} }; in { web = libvirt; db = libvirt; }`,
      'more/common.nix': '{ defaults = { networking.firewall.enable = false; }; }',
    },
  ],
  [
    "Morph's",
    {
      'network.nix': `let pkgs = import <nixpkgs> { }; in {
        network = { inherit pkgs; description = "fleet"; ordering.tags = [ "db" ]; };
        web = { config, pkgs, ... }: {
          ${bootable}
          deployment.targetHost = "web.example.org";
          deployment.healthChecks.cmd = [ { cmd = [ "\${pkgs.hello}/bin/hello" ]; description = "hello"; } ];
          environment.etc.here.source = ./.;
        };
        db = { ${bootable} deployment.tags = [ "db" ]; environment.systemPackages = [ pkgs.hello ]; };
      }`,
    },
  ],
  [
    "Colmena's",
    {
      'hive.nix': `{
        meta = { nixpkgs = import <nixpkgs> { }; specialArgs.colour = "red"; };
        defaults = { pkgs, ... }: { environment.systemPackages = [ pkgs.hello ]; };
        web = [ ./web.module ({ colour, name, ... }: { ${bootable} environment.etc.colour.text = "\${colour} \${name}"; }) ];
        db = { ${bootable} deployment.tags = [ "db" ]; deployment.keys.token.keyFile = ./token; };
      }`,
      'web.module': '{ environment.etc.all.source = ./.; }',
      token: 'no secret\n',
    },
  ],
]

/** Waits for the next second of the clock, because `builtins.currentTime` is the second in which an evaluation began. */
async function nextSecond(): Promise<void> {
  const second = () => Math.floor(Date.now() / 1000)
  const now = second()
  await vi.waitUntil(() => second() > now, { interval: 20, timeout: 10_000 })
}

it.each([
  'builtins.getEnv "HOME"',
  'toString builtins.currentTime',
  'toString ./.',
  'if builtins.pathExists /etc/passwd then "yes" else "no"',
])(
  'a deploy and a restricted evaluation differ by a fact of the host, as the documentation says: %s',
  async (fact) => {
    const files = write({
      'hydra.nix': `{ web = { deployment.os = "debian"; deployment.files."/x".text = ${fact}; }; }`,
    })
    const drv = await deployed(files, 'web')
    expect(drv).toMatch(/\.drv$/)
    await nextSecond()
    expect(hydra.drvPath(nix.folder, 'web')).not.toBe(drv)
  },
)

describe('a deploy and a restricted evaluation of the committed network make the same derivation', () => {
  it.each(layouts)('of each machine of %s layout', async (_, texts) => {
    const files = write(texts)
    const found = await nix.evaluate(files, {
      ...{ mode: 'write', physical: machines, searchPath, checkout: nix.folder },
    })
    for (const name of ['web', 'db']) {
      const drv = machineOf(found, name).drvPath
      expect(drv, name).toMatch(/^\/nix\/store\/.*\.drv$/)
      expect(hydra.drvPath(nix.folder, name), name).toBe(drv)
    }
    expect(hydra.drvPath(nix.folder, 'web', { file: 'web.nix' })).toBe(machineOf(found).drvPath)
  })

  it.each(['a b.nix', 'ä.nix'])('of a network file with the name %j', async (name) => {
    const files = write({
      [name]: '{ web = { deployment.os = "debian"; deployment.files."/x".text = "x"; }; }',
    })
    expect(files).toEqual([name])
    expect(hydra.drvPath(nix.folder, 'web')).toBe(await deployed(files, 'web'))
  })

  it('of a machine for which others build', async () => {
    const uses = { ...machines, web: { ...machines.web, usesBuilders: true } }
    const text = `{ network.nixpkgs = import <nixpkgs> { }; web = { ${bootable} }; }`
    const drvOf = async (physical: EvaluationRequest['physical']) => {
      nix.write('hydra.nix', text)
      writeJobs(nix.folder, ['hydra.nix'], { machines: physical })
      commitAll(nix.folder)
      const found = await nix.evaluate(['hydra.nix'], {
        ...{ mode: 'write', physical, searchPath, checkout: nix.folder },
      })
      const { drvPath } = machineOf(found)
      expect(hydra.drvPath(nix.folder, 'web')).toBe(drvPath)
      return drvPath
    }
    expect(await drvOf(uses)).not.toBe(await drvOf(machines))
  })

  it('with an argument of the network, which an input of the jobset gives', async () => {
    nix.write(
      'hydra.nix',
      '{ motd, ... }: { web = { deployment.os = "debian"; deployment.files."/etc/motd".text = motd; }; }',
    )
    writeJobs(nix.folder, ['hydra.nix'], { machines, args: ['motd'] })
    commitAll(nix.folder)
    const drv = await deployed(['hydra.nix'], 'web', { checkout: nix.folder, args: { motd: '"hi"' } })
    expect(hydra.drvPath(nix.folder, 'web', { inputs: { motd: '"hi"' } })).toBe(drv)
    expect(hydra.refusal(nix.folder, 'web')).toContain(
      "the network takes the argument 'motd': give the jobset an input of that name",
    )
  })
})

const whole = (text = './.') =>
  `{ web = { deployment.os = "debian"; deployment.files."/etc/all".text = "\${${text}}"; }; }`

describe('the derivation differs', () => {
  it('without --from-git, if the name of the folder enters it', async () => {
    const files = write({ 'hydra.nix': whole() })
    expect(await deployed(files, 'web', {})).not.toBe(hydra.drvPath(nix.folder, 'web'))
    expect(await deployed(files, 'web')).toBe(hydra.drvPath(nix.folder, 'web'))
  })

  it('while a change is not committed, and no longer after the commit', async () => {
    const files = write({ 'hydra.nix': whole('./motd'), motd: 'old' })
    nix.write('motd', 'new')
    expect(await deployed(files, 'web')).not.toBe(hydra.drvPath(nix.folder, 'web'))
    commitAll(nix.folder)
    expect(await deployed(files, 'web')).toBe(hydra.drvPath(nix.folder, 'web'))
  })

  it('if the facts of the state are older than the state', async () => {
    const text =
      '{ web = { config, ... }: { deployment.os = "debian"; deployment.files."/etc/key".text = config.networking.hostKey; }; }'
    nix.write('hydra.nix', text)
    writeJobs(nix.folder, ['hydra.nix'], { machines: { web: { hostKey: 'ssh-ed25519 OLD' } } })
    commitAll(nix.folder)
    expect(await deployed(['hydra.nix'], 'web')).not.toBe(hydra.drvPath(nix.folder, 'web'))
  })
})

describe('a network that is evaluated from git', () => {
  it('names its files by their places in the checkout', async () => {
    nix.write('hydra.nix', '{ web = { deployment.os = "debian"; deployment.packages = "x"; }; }')
    commitAll(nix.folder)
    const error = await nix.refusal('hydra.nix', { checkout: nix.folder })
    expect(error.message).toMatch(/^machine 'web' \(hydra\.nix\): deployment\.packages: /)
    nix.write('hydra.nix', '{ web = { deployment.os = "debian"; deployment.tags = [ (1 + "x") ]; }; }')
    commitAll(nix.folder)
    expect((await nix.refusal('hydra.nix', { checkout: nix.folder })).message).toContain('hydra.nix:1')
  })

  it('keeps secrets out of the store: a key file is read where the user has it', async () => {
    nix.write(
      'hydra.nix',
      '{ web = { deployment.os = "debian"; deployment.keys.token.keyFile = ./token; }; }',
    )
    nix.write('.gitignore', 'token\n')
    nix.write('token', 'secret')
    commitAll(nix.folder)
    const { options } = machineOf(await nix.evaluate('hydra.nix', { checkout: nix.folder, mode: 'shape' }))
    expect(options.keys).toMatchObject({ token: { keyFile: join(nix.folder, 'token') } })
  })

  it('is refused while git does not know its file', async () => {
    nix.write('hydra.nix', '{ }')
    git(nix.folder, 'init', '--quiet')
    git(nix.folder, 'commit', '--quiet', '--allow-empty', '--message=none')
    expect(await nix.refusal('hydra.nix', { checkout: nix.folder })).toMatchObject({
      message: 'git does not track the network expression hydra.nix',
      hint: 'add the file to git with git add',
    })
  })

  it('is refused with the words of git, if the repository is damaged', async () => {
    nix.write('hydra.nix', '{ }')
    nix.write('.git/HEAD', 'nonsense')
    const error = await nix.refusal('hydra.nix', { checkout: nix.folder })
    expect(error.message).toMatch(/^cannot fetch .* from git: /)
    expect(error.detail).toContain('is not a Git repository')
  })
})

describe('the jobs', () => {
  it('have an aggregate that names each machine as a text, so that no machine hides another', async () => {
    const files = write({ 'hydra.nix': '{ web.deployment.os = "debian"; db = throw "broken"; }' })
    expect(files).toEqual(['hydra.nix'])
    const release = hydra.drvPath(nix.folder, 'release')
    expect(release).toMatch(/-release\.drv$/)
    expect(hydra.drvPath(nix.folder, 'web')).toMatch(/-hydra-ops-web\.drv$/)
    expect(hydra.refusal(nix.folder, 'db')).toContain('broken')
  })

  it('are nested where a machine has dots in its name, as Hydra reads names', () => {
    write({
      'hydra.nix': '{ "a.example.org".deployment.os = "debian"; "b.example.org".deployment.os = "debian"; }',
    })
    for (const name of ['a', 'b'])
      expect(hydra.drvPath(nix.folder, `${name}.example.org`)).toMatch(
        new RegExp(`-hydra-ops-${name}.example.org.drv$`),
      )
  })

  it('say that a NixOS machine needs the input nixpkgs', () => {
    write({ 'hydra.nix': `{ web = { ${bootable} }; }` })
    expect(hydra.refusal(nix.folder, 'web', { nixpkgs: false })).toContain(
      'needs nixpkgs, and this network has none',
    )
    expect(hydra.drvPath(nix.folder, 'web')).toContain('-nixos-system-web-')
  })

  it('are refused for a definition with mistakes', () => {
    write({ 'hydra.nix': '{ web = { deployment.os = "debian"; deployment.packages = "x"; }; }' })
    expect(hydra.refusal(nix.folder, 'web')).toContain(
      'the definition has mistakes, first in deployment.packages',
    )
  })

  it('are those of morph itself, if the jobset asks for its evaluator', async () => {
    write({
      'network.nix': `let pkgs = import <nixpkgs> { } // { morph.lib = ./morph; }; in {
        network.pkgs = pkgs;
        web = { environment.etc.x.text = "x"; };
      }`,
      // This stand-in has the entry point of morph's evaluator: a function of the network's path that returns `nodes`.
      'morph/eval-machines.nix': `{ networkExpr }: let network = import networkExpr; in {
        nodes.web.config.system.build.toplevel = network.network.pkgs.writeText "by-morph" (builtins.toJSON network.web);
      }`,
    })
    expect(hydra.drvPath(nix.folder, 'web', { inputs: { evaluator: '"morph"' } })).toMatch(/-by-morph\.drv$/)
    expect(hydra.refusal(nix.folder, 'web', { inputs: { evaluator: '"other"' } })).toContain(
      'the input evaluator is "hydra-ops" or "morph", not "other"',
    )
  })
})

it('the files of hydra-ops in a repository hold no path of this host', () => {
  write({ 'hydra.nix': '{ }' })
  const settings = readFileSync(join(nix.folder, 'hydra/hydra-ops/settings.json'), 'utf8')
  expect(JSON.parse(settings)).toMatchObject({ optionKeys: ['libvirtd', 'virtualbox'] })
  expect(settings).not.toContain(nix.folder)
  expect(
    git(nix.folder, 'grep', '--files-with-matches', '--fixed-strings', 'jobs init').split('\n'),
  ).toContain('hydra/default.nix')
})
