import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createImageEvaluator } from '../../nix/nixos-images.js'
import { MachineName } from '../../src/core/names.js'
import { bootable, logical, machineOf, nixopsSystem, physicalFiles, wholeHydra } from './nixos-networks.js'
import { builtInProviders, createNixSandbox, fixtureNixpkgs, type NixSandbox } from './real-nix.js'

/** A checkout of nixpkgs, or a folder with its `lib` alone. */
const tree = process.env.HYDRA_OPS_NIXPKGS ?? ''
const isWhole = existsSync(join(tree, 'nixos/lib/eval-config.nix')) && existsSync(join(tree, 'pkgs'))

let nix: NixSandbox
beforeEach(() => {
  nix = createNixSandbox('', builtInProviders)
})
afterEach(() => nix.dispose())

/** Prints a detail of a test, in addition to its result. */
function told(what: string, seen: unknown): void {
  console.log(`${what}: ${typeof seen === 'string' ? seen : JSON.stringify(seen)}`)
}

async function asked(expression: string): Promise<unknown> {
  const result = await nix.command.run(
    'nix-instantiate',
    ['--eval', '--strict', '--json', '--readonly-mode', '-'],
    {
      ...{ signal: new AbortController().signal, timeoutMs: 300_000, what: 'evaluate', stdin: expression },
      extraEnv: { NIX_REMOTE: 'dummy://' },
    },
  )
  expect(result, result.stderr).toMatchObject({ kind: 'exited', code: 0 })
  return JSON.parse(result.stdout)
}

it('HYDRA_OPS_NIXPKGS names a nixpkgs, or a folder with its lib', async () => {
  expect(existsSync(join(tree, 'lib/default.nix')), 'set HYDRA_OPS_NIXPKGS to a checkout of nixpkgs').toBe(
    true,
  )
  told('nixpkgs', await asked(`(import ${tree}/lib).version or "without a version"`))
  told(
    'looked at',
    isWhole ? 'lib, the modules of NixOS and the packages' : 'lib alone: no module of NixOS, no toplevel',
  )
})

/** Definitions that merge or are refused, by name. */
const merges: Readonly<Record<string, string>> = {
  lists: '[ { deployment.tags = [ "a" ]; } { deployment.tags = [ "b" ]; } ]',
  before: '[ { deployment.tags = [ "a" ]; } { deployment.tags = lib.mkBefore [ "b" ]; } ]',
  forced: '[ { deployment.tags = [ "a" ]; } { deployment.tags = lib.mkForce [ "b" ]; } ]',
  weaker: '[ { deployment.targetPort = lib.mkDefault 1; } { deployment.targetPort = 2; } ]',
  scalars: '[ { deployment.targetPort = 1; } { deployment.targetPort = 2; } ]',
  listInScalar: '[ { deployment.targetHost = [ "a" ]; } ]',
  scalarInList: '[ { deployment.tags = "a"; } ]',
  undeclared: '[ { deployment.tagz = [ ]; } ]',
  keys: '[ { deployment.keys = { old = "text"; new = { text = "x"; user = "u"; }; }; } ]',
  checks: '[ { deployment.healthChecks.tcp = [ { port = 80; period = 0.5; } ]; } ]',
  hydra:
    '[ { deployment.hydra = { enable = true; cache.enable = true; }; } { deployment.hydra.buildMachines = [ { hostName = "b"; systems = [ "x" ]; } ]; } ]',
  hydraLists: '[ { deployment.hydra.trustedUsers = [ "a" ]; } { deployment.hydra.trustedUsers = [ "b" ]; } ]',
  hydraScalars: '[ { deployment.hydra.port = 1; } { deployment.hydra.port = 2; } ]',
  libvirt: '[ { deployment.libvirtd = { memorySize = 2048; networks = [ "lan" { bridge = "br0"; } ]; }; } ]',
  libvirtWrong: '[ { deployment.libvirtd.memorySize = "4G"; } ]',
}

function mergesBy(lib: string): string {
  const modules = builtInProviders.flatMap(({ optionsNix }) => optionsNix ?? [])
  const options = join(fixtureNixpkgs, '../../../nix/options.nix')
  return `let
    lib = import ${lib};
    modules = [ ${options} ${modules.join(' ')} ];
    given = import ${nix.write(
      'given.nix',
      `lib: { ${Object.entries(merges)
        .map(([name, text]) => `${name} = ${text};`)
        .join(' ')} }`,
    )} lib;
    show = definitions:
      let result = (lib.evalModules { modules = modules ++ definitions; }).config.deployment; in
      builtins.tryEval (builtins.deepSeq result (builtins.toJSON (clean result)));
    # Old releases leave the module system's own option in each set of options.
    clean = value: if builtins.isList value then map clean value
      else if builtins.isAttrs value then builtins.mapAttrs (_: clean) (removeAttrs value [ "_module" ]) else value;
  in builtins.mapAttrs (_: definitions: let shown = show definitions; in if shown.success then builtins.fromJSON shown.value else "refused") given`
}

const sorted = (text: string) => [...text].sort().join('')

describe('nix/options.nix with the lib of nixpkgs', () => {
  it('merges and refuses the same definitions as with the stand-in', async () => {
    const [real, standIn] = [
      await asked(mergesBy(`${tree}/lib`)),
      await asked(mergesBy(`${fixtureNixpkgs}/lib`)),
    ]
    if (typeof real !== 'object' || real === null || typeof standIn !== 'object' || standIn === null)
      throw new Error('no results')
    expect(Object.keys(real)).toEqual(Object.keys(merges).sort())
    for (const [name, value] of Object.entries(real)) {
      const [left, right] = [value, Reflect.get(standIn, name)].map((each) => JSON.stringify(each))
      // Old releases merge two plain lists in another order.
      expect(sorted(left ?? ''), name).toBe(sorted(right ?? ''))
      told(name, value === 'refused' ? value : 'merged as with the stand-in')
    }
  })
})

/**
 * Tests a Hydra with the stand-in's modules. These modules need a current module system, and a whole nixpkgs has its
 * own modules.
 */
function hydraByLib(): void {
  it('evaluates a whole Hydra over the modules of the stand-in', async () => {
    nix.write(
      'hydra.nix',
      `{ network.nixpkgs = ${fixtureNixpkgs}; network.lib = import ${tree}/lib; ci = { config, ... }: { ${bootable} ${wholeHydra}
        deployment.owners = [ config.services.hydra.hydraURL (toString config.nix.settings.trusted-users) config.services.hydra.extraConfig ]; }; }`,
    )
    const { options, drvPath } = machineOf(await nix.evaluate('hydra.nix'), 'ci')
    const [url, trusted, conf] = options.owners
    expect(url).toBe('http://hydra.example.org')
    expect(trusted?.split(' ').sort()).toEqual(['alice', 'hydra-queue-runner', 'root'])
    expect(conf).toContain('store_uri = file:///var/lib/hydra/cache?secret-key=/etc/nix/ci/secret')
    expect(drvPath).toBeDefined()
    told('a whole Hydra over the stand-in’s modules', { url, trusted })
  })
}

/** Returns the failed assertions in the run's log. */
const failedAssertions = () => nix.logged.filter((line) => line.includes('failed assertion'))

function wholeMachines(): void {
  it('has a toplevel with a whole Hydra of deployment.hydra', async () => {
    nix.write(
      'hydra.nix',
      `{ network.nixpkgs = ${tree}; ci = { config, lib, ... }: { ${bootable} ${wholeHydra}
        deployment.owners = [ config.system.nixos.release or config.system.nixosRelease config.services.hydra.extraConfig ]; }; }`,
    )
    const machine = machineOf(await nix.evaluate('hydra.nix'), 'ci')
    const [release, conf] = machine.options.owners
    expect(machine.drvPath).toMatch(/^\/nix\/store\/.*-nixos-system-ci-.*\.drv$/)
    for (const line of ['store_uri', 'binary_cache_secret_key_file', 'base_uri', 'notification_sender'])
      expect(conf?.split('\n').filter((each) => each.startsWith(line))).toHaveLength(1)
    expect(failedAssertions()).toEqual([])
    told('release', release)
    told('toplevel', machine.drvPath)
    told(
      'warnings',
      nix.logged.filter((line) => line.startsWith('warning')),
    )
  })

  it('has a toplevel with the facts of a provider and nothing else', async () => {
    const disk = { boot: '/dev/vda', root: '/dev/disk/by-label/nixos', rootType: 'ext4' }
    nix.write('hydra.nix', `{ network.nixpkgs = ${tree}; ci = { }; }`)
    const physical = { ci: { privateIPv4: '192.168.9.2', disk } }
    const machine = machineOf(await nix.evaluate('hydra.nix', { physical }), 'ci')
    expect(machine.drvPath).toBeDefined()
    told('toplevel by facts alone', machine.drvPath)
  })

  it('has an image of its own, with its disk and nothing else', async () => {
    const disk = { boot: '/dev/vda', root: '/dev/disk/by-label/nixos', rootType: 'ext4' }
    const [ci] = [MachineName.parse('ci')]
    const evaluate = createImageEvaluator({
      command: nix.command,
      providers: builtInProviders,
      cwd: nix.folder,
    })
    const images = await evaluate(
      {
        files: [
          nix.write(
            'hydra.nix',
            `{ network.nixpkgs = import ${tree} { config.allowUnfree = true; }; ci = { }; }`,
          ),
        ],
        ...{ searchPath: [], args: {}, mode: 'read', flags: { showTrace: false, options: [] } },
        deployment: { uuid: '8a4b1f2c-0000-4000-8000-000000000000', name: 'lab' },
        physical: { ci: { disk: { ...disk, drivers: ['virtio_blk', 'virtio_pci'] } } },
      },
      [ci],
      { signal: new AbortController().signal, log: () => {} },
    )
    expect(images.get(ci)?.derivation).toMatch(/-hydra-ops-nixos-image\.drv$/)
    told('image', images.get(ci)?.derivation)
  })

  it('takes a label of the user for its root, which nixpkgs turns into a device', async () => {
    const disk = { boot: '/dev/vda', root: '/dev/disk/by-label/nixos', rootType: 'ext4' }
    nix.write(
      'hydra.nix',
      `{ network.nixpkgs = ${tree}; ci = { config, ... }: { fileSystems."/".label = "own"; deployment.tags = [ (if config.fileSystems."/".device == null then "by the label" else config.fileSystems."/".device) ]; }; }`,
    )
    const machine = machineOf(await nix.evaluate('hydra.nix', { physical: { ci: { disk } } }), 'ci')
    expect(machine.options.tags).toEqual([
      expect.stringMatching(/^(?:by the label|\/dev\/disk\/by-label\/own)$/),
    ])
  })

  it.each(['libvirt', 'virtualbox'] as const)(
    'evaluates the two files of a NixOps network with its own Hydra on %s',
    async (provider) => {
      nix.write(
        'id_rsa.pub',
        'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIERYHSWUit89S0L2+5H0TFp9S12itndkckU1QTtgGn2X a@b\n',
      )
      nix.write('hydra.nix', logical(nixopsSystem, './id_rsa.pub'))
      nix.write('hydra-physical.nix', `{ my-hydra = { ${physicalFiles[provider]} }; }`)
      const evaluated = await nix.evaluate(['hydra.nix', 'hydra-physical.nix'], {
        searchPath: [`nixpkgs=${tree}`],
      })
      const machine = machineOf(evaluated, 'my-hydra')
      expect(machine.drvPath).toBeDefined()
      told(`NixOps network on ${provider}`, machine.drvPath)
      told(
        'warnings',
        nix.logged.filter((line) => line.startsWith('warning: machine')),
      )
    },
  )

  it('gets the arguments of NixOps and Colmena, and may be a list of modules', async () => {
    nix.write(
      'hydra.nix',
      `{ network.nixpkgs = ${tree}; network.specialArgs.flavour = "sour"; network.nodeSpecialArgs.web.size = "big";
        web = [ ({ name, uuid, deploymentName, flavour, size, resources, nodes, ... }: { deployment.tags = [ name deploymentName flavour size resources.machines.db.networking.hostName nodes.db.config.networking.hostName ]; }) { deployment.tags = [ "list" ]; } ];
        db = { }; }`,
    )
    const { tags } = machineOf(await nix.evaluate('hydra.nix', { mode: 'shape' })).options
    expect([...tags].sort()).toEqual(['big', 'db', 'db', 'lab', 'list', 'sour', 'web'])
  })

  it('is told the mistakes in the words of its module system, with machine and file', async () => {
    nix.write(
      'hydra.nix',
      `{ network.nixpkgs = ${tree}; web = { ${bootable} services.ngnix.enable = true; }; }`,
    )
    const { message } = await nix.refusal('hydra.nix')
    told('an undeclared option', message)
    expect(message).toMatch(
      /^machine 'web' \(hydra\.nix\): The option `services\.ngnix.*' (?:does not exist|defined in `hydra\.nix' does not exist)/,
    )
  })
}

if (isWhole) describe('a machine of a whole nixpkgs', wholeMachines)
else describe('nix/modules/hydra.nix with the lib of nixpkgs', hydraByLib)
