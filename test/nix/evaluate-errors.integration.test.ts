import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { NetworkDefinition } from '../../src/core/definition.js'
import { MachineName } from '../../src/core/names.js'
import { createNixSandbox, listing, type NixSandbox } from './real-nix.js'

let nix: NixSandbox
beforeEach(() => {
  nix = createNixSandbox()
})
afterEach(() => nix.dispose())

const debian = 'deployment.os = "debian";'

describe('a wrong expression ends with exit code 2, names the place, and writes nothing', () => {
  it.each([
    [
      'a syntax error',
      `{\n  web = { ${debian} ]; };\n}\n`,
      /^hydra\.nix:2:37: syntax error, unexpected '\]'/,
    ],
    [
      'an undefined variable',
      `{ web = {\n ${debian} deployment.targetHost = foo; }; }`,
      /^hydra\.nix:2:52: undefined variable 'foo'$/,
    ],
    [
      'an infinite recursion',
      `{ web = { config, ... }: { ${debian} deployment.targetHost = config.deployment.targetHost; }; }`,
      /^machine 'web' \(hydra\.nix.*\): deployment\.targetHost: infinite recursion encountered$/,
    ],
    [
      'a missing import',
      `{ web = { imports = [ ./absent.nix ]; ${debian} }; }`,
      /^machine 'web' \(hydra\.nix\): imports absent\.nix, which does not exist$/,
    ],
    [
      'a missing required file',
      `{ require = [ ./absent.nix ]; web = { ${debian} }; }`,
      /^hydra\.nix: requires absent\.nix, which does not exist$/,
    ],
    [
      'a wrong type in an operation',
      `{ web = { ${debian} deployment.targetPort = 1 + "2"; }; }`,
      /^machine 'web' \(hydra\.nix:1:\d+\): deployment\.targetPort: cannot add a string to an integer$/,
    ],
    [
      'a wrong type of a provider option',
      `{ web = { ${debian} deployment.targetEnv = "libvirtd"; deployment.libvirtd.memorySize = "4G"; }; }`,
      /^machine 'web' \(hydra\.nix\): deployment\.libvirtd\.memorySize: expected a number, got "4G"$/,
    ],
    [
      'an unknown provider',
      `{ web = { ${debian} deployment.targetEnv = "libvrtd"; }; }`,
      /^machine 'web' \(hydra\.nix\): deployment\.targetEnv: unknown provider "libvrtd"; did you mean 'libvirtd'\?$/,
    ],
    [
      'a provider of NixOps that is not there',
      `{ web = { ${debian} deployment.targetEnv = "hetzner"; }; }`,
      /deployment\.targetEnv: unknown provider "hetzner"; the supported values are /,
    ],
    [
      'an unknown option',
      `{ web = { ${debian} deployment.targetHots = "x"; }; }`,
      /^machine 'web' \(hydra\.nix\): deployment\.targetHots: unknown option; did you mean 'targetHost'\?$/,
    ],
    [
      'an option of a provider in the wrong place',
      `{ web = { ${debian} deployment.memorySzie = 1; }; }`,
      /deployment\.memorySzie: unknown option; did you mean 'libvirtd\.memorySize'\?$/,
    ],
    [
      'an option of NixOS on a Debian machine',
      `{ web = { ${debian} services.nginx.enable = true; }; }`,
      /^machine 'web' \(hydra\.nix\): services\.nginx: unknown option; a Debian machine has only deployment/,
    ],
    [
      'a wrong type in a file',
      `{ web = { ${debian} deployment.files."/etc/motd" = { text = "x"; mode = 644; }; }; }`,
      /^machine 'web' \(hydra\.nix\): deployment\.files\."\/etc\/motd"\.mode: expected a string, got 644$/,
    ],
    [
      'an unknown attribute of a unit',
      `{ web = { ${debian} deployment.units."a.service" = { txt = "x"; }; }; }`,
      /deployment\.units\."a\.service"\.txt: unknown option; did you mean 'text'\?$/,
    ],
    [
      'packages that are none',
      `{ web = { ${debian} deployment.packages = [ 5 ]; }; }`,
      /deployment\.packages: expected a list of derivations or store paths, got a list$/,
    ],
    [
      'a NixOS machine without nixpkgs',
      '{ web = { deployment.targetHost = "x"; }; }',
      /^machine 'web' \(hydra\.nix\): deployment\.os = "nixos" \(the default\) needs nixpkgs, and this network has none$/,
    ],
    [
      'an unknown kind of machine',
      '{ web = { deployment.os = "debain"; }; }',
      /^machine 'web' \(hydra\.nix\): deployment\.os: expected "debian" or "nixos", got "debain"$/,
    ],
    [
      'declared options',
      `{ web = { options = { x = 1; }; config = { ${debian} }; }; }`,
      /^machine 'web' \(hydra\.nix\): the file declares 'options', but the definition of a Debian machine/,
    ],
    [
      'an attribute beside config',
      `{ web = { config = { ${debian} }; deployment.targetHost = "x"; }; }`,
      /^machine 'web' \(hydra\.nix\): 'deployment' stands beside 'config' or 'options'; move it into 'config'$/,
    ],
    [
      'pkgs without a nixpkgs',
      `{ web = { pkgs, ... }: { ${debian} deployment.packages = [ pkgs.hello ]; }; }`,
      /^machine 'web' \(hydra\.nix\): the definition uses pkgs, but this network has no nixpkgs$/,
    ],
    [
      'an argument that no definition gets',
      `{ web = { flavour, ... }: { ${debian} deployment.targetHost = flavour; }; }`,
      /^machine 'web' \(hydra\.nix\): the argument 'flavour' of a definition does not exist here$/,
    ],
    [
      'a missing function argument',
      `{ port }: { web = { ${debian} deployment.targetPort = port; }; }`,
      /^hydra\.nix: the function needs the argument 'port'$/,
    ],
    [
      'an unknown attribute of the network',
      `{ network.descripton = "x"; web = { ${debian} }; }`,
      /^hydra\.nix: network\.descripton: unknown option; did you mean 'description'\?$/,
    ],
    [
      "an attribute of another tool's network that would be missed",
      `{ meta.allowApplyAll = false; web = { ${debian} }; }`,
      /^hydra\.nix: network\.allowApplyAll: not supported yet$/,
    ],
    [
      'a machine name that is not a host name',
      `{ "web server" = { ${debian} }; }`,
      /^hydra\.nix: machine "web server": expected a host name/,
    ],
    [
      'a flake',
      '{ description = "x"; inputs = { }; outputs = { self }: { }; }',
      /^hydra\.nix: is a flake, which is not supported yet as a network expression$/,
    ],
    [
      'a nixpkgs of Colmena that does not exist',
      `{ meta.nixpkgs = ./absent; web = { ${debian} }; db = { ${debian} }; }`,
      /^hydra\.nix: meta\.nixpkgs: absent does not exist$/,
    ],
    [
      'a nixpkgs that is not a path',
      `{ network.nixpkgs = "nixpkgs"; web = { ${debian} }; }`,
      /^hydra\.nix: network\.nixpkgs: expected a path, a function or a set, got "nixpkgs"$/,
    ],
    [
      'a nixpkgs of one machine that is none',
      `{ network.nodeNixpkgs.web = 5; web = { ${debian} }; }`,
      /^hydra\.nix: network\.nodeNixpkgs\.web: expected a path, a function or a set, got an integer$/,
    ],
    [
      'a network that is not a set',
      `{ network = 5; web = { ${debian} }; }`,
      /^hydra\.nix: network: expected a set of options, got an integer$/,
    ],
    [
      'no set of machines',
      '[ 1 2 ]',
      /^hydra\.nix: expected a set of machines, or a function that returns one, got a list$/,
    ],
    [
      'options that are coming',
      `{ web = { ${debian} deployment.buildOnTarget = true; }; }`,
      /deployment\.buildOnTarget: this option is not supported yet$/,
    ],
    [
      'a source that does not exist',
      `{ web = { ${debian} deployment.files."/etc/x".source = ./absent; }; }`,
      /^machine 'web' \(hydra\.nix\): deployment\.files\."\/etc\/x"\.source: absent does not exist$/,
    ],
  ])('as with %s', async (_, text, sentence) => {
    nix.write('hydra.nix', text)
    const error = await nix.refusal('hydra.nix', { mode: 'write' })
    expect(error.message).toMatch(sentence)
    expect(error.exitCode).toBe(2)
    expect(error.detail).toBeUndefined()
    expect(listing(nix.storeFolder)).toEqual([])
  })

  it('a file that does not exist, and a folder without default.nix, are refused before Nix is started', async () => {
    const absent = await nix.refusal('absent.nix')
    expect(absent.message).toBe('the network expression absent.nix does not exist')
    nix.write('folder/other.nix', '{ }')
    const folder = await nix.refusal('folder')
    expect(folder.message).toBe('the network expression folder is a folder without a default.nix')
    expect([absent.exitCode, folder.exitCode, nix.started]).toEqual([2, 2, []])
  })

  it('an invalid change of a deployed network is refused', async () => {
    nix.write('hydra.nix', `{ web = { ${debian} deployment.files."/a".text = "1"; }; }`)
    await nix.evaluate('hydra.nix', { mode: 'write' })
    const before = listing(nix.storeFolder)
    expect(before).not.toEqual([])
    nix.write(
      'hydra.nix',
      `{ web = { ${debian} deployment.files."/a".text = "2"; deployment.tagz = [ ]; }; }`,
    )
    await nix.refusal('hydra.nix', { mode: 'write' })
    expect(listing(nix.storeFolder)).toEqual(before)
  })
})

it('an evaluation lists all wrong options, not only the first', async () => {
  nix.write(
    'hydra.nix',
    `{ web = { ${debian} deployment.targetPort = "x"; deployment.tags = "y"; deployment.aptPackages = [ "A B" ]; };
       db = { ${debian} deployment.targetPort = 0; }; }`,
  )
  const { message } = await nix.refusal('hydra.nix')
  expect(message.split('\n')).toEqual([
    `machine 'db' (hydra.nix): deployment.targetPort: expected a number of at least 1, got 0`,
    `machine 'web' (hydra.nix): deployment.targetPort: expected a number, got "x"`,
    `machine 'web' (hydra.nix): deployment.tags: expected a list, got "y"`,
    `machine 'web' (hydra.nix): deployment.aptPackages.0: expected a Debian package name, got "A B"`,
  ])
})

it('an evaluation refuses unsupported options of ssh, each with a sentence, beside all other mistakes', async () => {
  nix.write(
    'hydra.nix',
    `{ web = { ${debian} deployment.sshOptions = [ "-F" "x" "-p" "22" "-o" "Prt=1" ]; deployment.targetPort = "x"; };
       db = { ${debian} deployment.sshOptions = [ "-L 1:a:2" ]; }; }`,
  )
  const { message } = await nix.refusal('hydra.nix', { mode: 'write' })
  expect(message.split('\n')).toEqual([
    expect.stringMatching(
      /^machine 'db' \(hydra\.nix\): deployment\.sshOptions: '-L' is only for a single call of ssh/,
    ),
    `machine 'web' (hydra.nix): deployment.targetPort: expected a number, got "x"`,
    expect.stringMatching(
      /^machine 'web' \(hydra\.nix\): deployment\.sshOptions: '-F' names another configuration file/,
    ),
    expect.stringMatching(/'Prt' is not a keyword of ssh_config\(5\); did you mean 'Port'\?$/),
  ])
  expect(listing(nix.storeFolder)).toEqual([])
})

it('an evaluation reports unsupported features and refusals of Nix beside all other mistakes', async () => {
  nix.write(
    'hydra.nix',
    `{ meta.allowApplyAll = false; resources.x = { };
       a = { ${debian} deployment.buildOnTarget = true; deployment.tagz = [ ]; };
       b = { ${debian} deployment.targetEnv = "hetzner"; };
       c = { deployment.targetHost = "x"; };
       d = { ${debian} deployment.targetHost = throw "no host"; }; }`,
  )
  const { message, exitCode } = await nix.refusal('hydra.nix')
  expect(exitCode).toBe(2)
  const told = message.split('\n')
  for (const piece of [
    'allowApplyAll',
    'resources.x',
    'buildOnTarget',
    'tagz',
    '"hetzner"',
    '"nixos"',
    'no host',
  ])
    expect(told.filter((line) => line.includes(piece))).toHaveLength(1)
})

it('an evaluation reports every contradiction of a machine beside all its other mistakes', async () => {
  nix.write(
    'a.nix',
    `{ deployment.targetHost = "a"; deployment.targetPort = 1; deployment.files."/etc/x".text = "1"; }`,
  )
  nix.write(
    'b.nix',
    `{ deployment.targetHost = "b"; deployment.targetPort = 2; deployment.files."/etc/x".text = "2"; }`,
  )
  nix.write(
    'hydra.nix',
    `{ web = { ${debian} imports = [ ./a.nix ./b.nix ]; deployment.tagz = [ ]; deployment.files."/etc/y" = { }; }; }`,
  )
  for (const mode of ['shape', 'read'] as const) {
    const { message, hint } = await nix.refusal('hydra.nix', { mode })
    const differ = 'the definitions have different values of equal priority'
    expect(message.split('\n').map((line) => line.replace(/^machine 'web' \(/, '('))).toEqual([
      `(a.nix, b.nix): deployment.files."/etc/x".text: ${differ}`,
      `(a.nix, b.nix): deployment.targetHost: ${differ}`,
      `(a.nix, b.nix): deployment.targetPort: ${differ}`,
      ...(mode === 'read'
        ? ['(hydra.nix): deployment.files."/etc/y": neither text nor source is given']
        : []),
      "(hydra.nix): deployment.tagz: unknown option; did you mean 'tags'?",
    ])
    expect(hint).toContain('set the priorities')
  }
})

it('an evaluation names Colmena’s way to give a nixpkgs when the network is a Colmena network', async () => {
  nix.write(
    'hydra.nix',
    `{ meta = { }; web = { pkgs, ... }: { ${debian} deployment.packages = [ pkgs.hello ]; }; }`,
  )
  const { hint } = await nix.refusal('hydra.nix')
  expect(hint).toBe('set the packages, for instance meta.nixpkgs = import <nixpkgs> { };')
})

it('an evaluation reports a mistake in the defaults once for all machines', async () => {
  nix.write(
    'hydra.nix',
    `{ defaults = { ${debian} deployment.targetPort = 1 + "x"; }; a = { }; b = { }; c = { }; }`,
  )
  const { message } = await nix.refusal('hydra.nix')
  expect(message).toMatch(/^machines 'a', 'b' \(hydra\.nix:1:\d+\): deployment\.targetPort: cannot add/)
  expect(message).not.toContain('\n')
})

it("an evaluation shows Nix's trace only with showTrace", async () => {
  nix.write('hydra.nix', `{ web = { ${debian} deployment.targetHost = throw "no host"; }; }`)
  const flags = { showTrace: true, options: [] }
  const { detail } = await nix.refusal('hydra.nix', { flags })
  expect(detail).toContain('no host')
})

it('an evaluation never shows the value of a key', async () => {
  nix.write(
    'hydra.nix',
    `{ web = { ${debian} deployment.keys = { a.text = [ "hush" ]; b = { text = "hush"; mode = 1; }; }; }; }`,
  )
  const { message } = await nix.refusal('hydra.nix')
  expect(message).toContain('deployment.keys.a.text: expected a string, got a list')
  expect(message).toContain('deployment.keys.b.mode: unknown option')
  expect(message).not.toContain('hush')
})

describe('a machine that does not evaluate', () => {
  const healthy = `web = { ${debian} deployment.targetHost = "192.0.2.7"; };`

  it.each([
    ['a missing import', '{ imports = [ ./absent.nix ]; }', /imports absent\.nix/],
    [
      'an import with a syntax error',
      '{ imports = [ ./broken.nix ]; }',
      /^machine 'db' \(broken\.nix:1:7\): syntax error/,
    ],
    ['a throw', `{ ${debian} deployment.targetHost = throw "no host"; }`, /no host/],
    ['an abort', `{ ${debian} deployment.targetHost = abort "given up"; }`, /given up/],
    ['a type error', `{ ${debian} deployment.targetHost = 1 + "a"; }`, /cannot add/],
    ['an infinite recursion', `let x = x; in x`, /infinite recursion/],
    ['an invalid option', `{ ${debian} deployment.tagz = [ ]; }`, /tagz/],
  ])('does not end the evaluation of selected machines: %s', async (_, db, why) => {
    nix.write('broken.nix', '{ a = }')
    nix.write('hydra.nix', `{ ${healthy} db = ${db}; }`)
    const network = await nix.evaluate('hydra.nix', { only: ['web'] })
    expect([...network.machines.keys()]).toEqual(['web'])
    expect(drvOf(network)).toMatch(/\.drv$/)
    expect([...(network.failed ?? [])].map(([name, error]) => [name, why.test(error.message)])).toEqual([
      ['db', true],
    ])
  })

  it('is an error when it is selected, beside those of the others', async () => {
    nix.write('hydra.nix', `{ ${healthy} db = throw "first"; dc = abort "second"; }`)
    const { message, exitCode } = await nix.refusal('hydra.nix')
    expect(message).toMatch(/first/)
    expect(message).toMatch(/second/)
    expect(exitCode).toBe(2)
    expect((await nix.refusal('hydra.nix', { only: ['dc'] })).message).not.toMatch(/first/)
  })

  it.each(['shape', 'read'] as const)(
    'is reported beside all the others when none is required (%s)',
    async (mode) => {
      nix.write('hydra.nix', `{ ${healthy} db = throw "first"; dc = { ${debian} deployment.tagz = [ ]; }; }`)
      const network = await nix.evaluate('hydra.nix', { mode, required: [] })
      expect([...network.machines.keys()]).toEqual(['web'])
      expect([...(network.failed?.keys() ?? [])]).toEqual(['db', 'dc'])
      expect(drvOf(network) === undefined).toBe(mode === 'shape')
    },
  )

  it('is still found by the others under its allocated address', async () => {
    const physical = { web: { privateIPv4: '192.0.2.1' }, db: { privateIPv4: '192.0.2.2' } }
    nix.write('hydra.nix', `{ ${healthy} db = { ${debian} }; }`)
    const whole = await nix.evaluate('hydra.nix', { physical, only: ['web'] })
    nix.write('hydra.nix', `{ ${healthy} db = throw "broken"; }`)
    const partial = await nix.evaluate('hydra.nix', { physical, only: ['web'] })
    expect(drvOf(whole)).toMatch(/\.drv$/)
    expect(drvOf(partial)).toBe(drvOf(whole))
  })
})

function drvOf(network: NetworkDefinition) {
  return network.machines.get(MachineName.parse('web'))?.drvPath
}
