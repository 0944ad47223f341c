import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { MachineDefinition, NetworkDefinition } from '../../src/core/definition.js'
import type { Json } from '../../src/core/json.js'
import { MachineName } from '../../src/core/names.js'
import { createNixSandbox, type NixSandbox } from './real-nix.js'

let nix: NixSandbox
beforeAll(() => {
  nix = createNixSandbox()
})
afterAll(() => nix.dispose())

let count = 0
/** Evaluates files with these texts as one network of Debian machines. */
async function network(...texts: string[]): Promise<NetworkDefinition> {
  count += 1
  const files = texts.map((text, index) => {
    nix.write(`${count}/${index}.nix`, text)
    return `${count}/${index}.nix`
  })
  nix.write(`${count}/debian.nix`, '{ defaults.deployment.os = "debian"; }')
  return nix.evaluate([...files, `${count}/debian.nix`], { mode: 'shape' })
}

async function web(...texts: string[]): Promise<MachineDefinition> {
  const machine = (await network(...texts)).machines.get(MachineName.parse('web'))
  if (machine === undefined) throw new Error('no machine web')
  return machine
}

const inLibvirt = (options: string) => `deployment = { targetEnv = "libvirtd"; libvirtd = { ${options} }; };`
const memory = (machine: MachineDefinition): Json => {
  const { provider } = machine
  return typeof provider === 'object' && provider !== null && !Array.isArray(provider)
    ? (provider.memorySize ?? null)
    : null
}

describe('several definitions of one machine', () => {
  it('are merged over files, attribute by attribute', async () => {
    const machine = await web(
      '{ web.deployment = { targetHost = "192.0.2.1"; keys.a.text = "1"; }; }',
      '{ web.deployment = { targetPort = 2222; keys.b.text = "2"; keys.a.user = "www"; }; }',
    )
    expect(machine.options).toMatchObject({ targetHost: '192.0.2.1', targetPort: 2222 })
    expect(machine.options.keys).toMatchObject({ a: { text: '1', user: 'www' }, b: { text: '2' } })
  })

  it('append their lists, in the order of files and of mkBefore and mkAfter', async () => {
    const machine = await web(
      '{ web = { lib, ... }: { deployment.tags = lib.mkMerge [ (lib.mkAfter [ "last" ]) [ "one" ] ]; }; }',
      '{ web = { lib, ... }: { deployment.tags = lib.mkMerge [ [ "two" ] (lib.mkBefore [ "first" ]) ]; }; }',
    )
    expect(machine.options.tags).toEqual(['first', 'one', 'two', 'last'])
  })

  it('may give the same scalar twice', async () => {
    const machine = await web('{ web.deployment.targetPort = 22; }', '{ web.deployment.targetPort = 22; }')
    expect(machine.options.targetPort).toBe(22)
  })

  it('conflict when two scalars of equal priority differ, and the error names option and both files', async () => {
    nix.write('one.nix', '{ web.deployment = { os = "debian"; targetHost = "a"; }; }')
    nix.write('two.nix', '{ web.deployment.targetHost = "b"; }')
    const error = await nix.refusal(['one.nix', 'two.nix'])
    expect(error.message).toBe(
      "machine 'web' (one.nix, two.nix): deployment.targetHost: the definitions have different values of equal priority",
    )
    expect(error.hint).toContain('lib.mkForce')
  })

  it('conflict when one is a list and the other is not', async () => {
    nix.write('one.nix', '{ web.deployment = { os = "debian"; tags = [ "a" ]; }; }')
    nix.write('two.nix', '{ web.deployment.tags = "b"; }')
    const error = await nix.refusal(['one.nix', 'two.nix'])
    expect(error.message).toBe(
      "machine 'web' (one.nix, two.nix): deployment.tags: the definitions differ: a list and a string",
    )
  })

  it('name the file that defines each option', async () => {
    const machine = await web(
      '{ web.deployment.targetHost = "a"; }',
      '{ web.deployment.files."/etc/x y".text = "b"; }',
    )
    const files = Object.fromEntries(
      Object.entries(machine.origins).map(([option, from]) => [
        option,
        from.map((file) => file.split('/').at(-1)),
      ]),
    )
    expect(files).toEqual({
      'deployment.files."/etc/x y".text': ['1.nix'],
      'deployment.os': ['debian.nix'],
      'deployment.targetHost': ['0.nix'],
    })
  })
})

describe('the priority of a definition', () => {
  it.each([
    ['an ordinary definition wins over mkDefault', 'lib.mkDefault 1', '2', 2],
    ['mkForce wins over an ordinary definition', 'lib.mkForce 1', '2', 1],
    ['the smaller mkOverride wins', 'lib.mkOverride 60 1', 'lib.mkOverride 40 2', 2],
  ])('decides between files: %s', async (_, one, two, result) => {
    const file = (value: string) => `{ web = { lib, ... }: { ${inLibvirt(`memorySize = ${value};`)} }; }`
    expect(memory(await web(file(one), file(two)))).toBe(result)
  })

  it.each([
    ["the machine's own scalar wins over that of defaults", '1', '2', 2],
    ["mkDefault in both: the machine's own wins", 'lib.mkDefault 1', 'lib.mkDefault 2', 2],
    ['defaults win over mkDefault of the machine', '1', 'lib.mkDefault 2', 1],
    ['mkForce in defaults wins over the machine', 'lib.mkForce 1', '2', 1],
    ["mkForce in both: the machine's own wins", 'lib.mkForce 1', 'lib.mkForce 2', 2],
  ])('decides between defaults and machine: %s', async (_, inDefaults, own, result) => {
    const machine = await web(
      `{ defaults = { lib, ... }: { ${inLibvirt(`memorySize = ${inDefaults};`)} };
         web = { lib, ... }: { ${inLibvirt(`memorySize = ${own};`)} }; }`,
    )
    expect(memory(machine)).toBe(result)
  })

  it.each([
    ['lists of defaults and machine are joined, those of defaults first', '[ "a" ]', '[ "b" ]', ['a', 'b']],
    ['mkForce on a list replaces that of defaults', '[ "a" ]', 'lib.mkForce [ "b" ]', ['b']],
    ['mkDefault on a list gives way to an ordinary one', 'lib.mkDefault [ "a" ]', '[ "b" ]', ['b']],
    ['mkForce in defaults replaces the list of the machine', 'lib.mkForce [ "a" ]', '[ "b" ]', ['a']],
  ])('decides about lists: %s', async (_, inDefaults, own, result) => {
    const machine = await web(
      `{ defaults = { lib, ... }: { deployment.tags = ${inDefaults}; };
         web = { lib, ... }: { deployment.tags = ${own}; }; }`,
    )
    expect(machine.options.tags).toEqual(result)
  })

  it('replaces the others when mkForce is on all keys, or on one', async () => {
    const keys = (value: string) =>
      web(
        `{ defaults.deployment.keys = { a = { text = "1"; user = "x"; }; b.text = "2"; };
           web = { lib, ... }: { deployment.keys = ${value}; }; }`,
      )
    expect(Object.keys((await keys('lib.mkForce { }')).options.keys)).toEqual([])
    expect((await keys('{ a = lib.mkForce { text = "3"; }; }')).options.keys).toMatchObject({
      a: { text: '3', user: 'root' },
      b: { text: '2' },
    })
  })

  it('lets each option of a set with mkDefault be overridden alone', async () => {
    const machine = await web(
      '{ web = { lib, ... }: { deployment.keys.a = lib.mkDefault { text = "1"; user = "x"; }; }; }',
      '{ web.deployment.keys.a.text = "2"; }',
    )
    expect(machine.options.keys.a).toMatchObject({ text: '2', user: 'x' })
  })
})

describe('the conditions of a definition', () => {
  it('apply to single options, so that they may depend on the same config', async () => {
    const machine = await web(
      `{ web = { config, lib, ... }: lib.mkMerge [
           { deployment.tags = [ "big" ]; }
           (lib.mkIf (config.deployment.targetPort == 2222) { deployment.targetHost = "yes"; deployment.targetUser = lib.mkIf false "no"; })
           { deployment.targetPort = 2222; }
         ]; }`,
    )
    expect(machine.options).toMatchObject({ targetHost: 'yes', targetPort: 2222, tags: ['big'] })
    expect(machine.options.targetUser).toBeUndefined()
  })

  it('never evaluate the guarded value of a false one', async () => {
    const machine = await web(
      `{ web = { lib, ... }: { deployment.targetHost = lib.mkIf false (throw "looked at"); deployment.tags = [ "a" (lib.mkIf false "b") ]; }; }`,
    )
    expect(machine.options.targetHost).toBeUndefined()
  })

  it('leave out whole keys and whole modules', async () => {
    const machine = await web(
      `{ web = { lib, ... }: { imports = [ (lib.mkIf false { services.nginx.enable = true; }) ];
           deployment.keys.a = lib.mkIf false { text = "1"; }; deployment.keys.b = lib.mkIf true { text = "2"; }; }; }`,
    )
    expect(Object.keys(machine.options.keys)).toEqual(['b'])
  })

  it('let options of NixOS stand in defaults for machines that are NixOS', async () => {
    const machine = await web(
      `{ defaults = { config, lib, ... }: { services.openssh.enable = lib.mkIf (config.deployment.os == "nixos") true; }; web = { }; }`,
    )
    expect(machine.os).toBe('debian')
  })

  it('do not hide a used option without a definition, which is an error that names it', async () => {
    nix.write(
      'unset.nix',
      `{ web = { config, lib, ... }: { deployment.os = "debian"; deployment.targetHost = config.deployment.targetUser; deployment.targetUser = lib.mkIf false "x"; }; }`,
    )
    expect((await nix.refusal('unset.nix')).message).toBe(
      "machine 'web': deployment.targetUser: the option is used but not defined",
    )
  })
})

describe('a definition', () => {
  it.each([
    ['a set', '{ deployment.targetHost = "x"; }'],
    [
      'a function',
      '{ config, lib, name, nodes, pkgs, resources, uuid, deploymentName, ... }: { deployment.targetHost = "x"; }',
    ],
    ['a path', './part.nix'],
    ['a list', '[ { deployment.targetUser = "root"; } ./part.nix ]'],
    [
      'a function that returns a merge',
      '{ lib, ... }: lib.mkMerge [ { } (lib.mkIf true { deployment.targetHost = "x"; }) ]',
    ],
    ['the long form', '{ imports = [ ]; config = { deployment.targetHost = "x"; }; }'],
    [
      'the long form with a condition',
      '{ lib, ... }: { config = lib.mkIf true { deployment.targetHost = "x"; }; }',
    ],
    ['imports, one within another', '{ imports = [ { imports = [ ./part.nix ]; } ]; }'],
    ['a callable set', '{ __functor = self: { lib, ... }: { deployment.targetHost = "x"; }; }'],
  ])('may have the form of %s', async (_, definition) => {
    nix.write(`${count + 1}/part.nix`, '{ lib, ... }: { deployment.targetHost = lib.mkDefault "x"; }')
    expect((await web(`{ web = ${definition}; }`)).options.targetHost).toBe('x')
  })

  it('counts once when its file is imported twice', async () => {
    nix.write(`${count + 1}/part.nix`, '{ deployment.tags = [ "once" ]; }')
    const machine = await web(
      '{ defaults.imports = [ ./part.nix ]; web.imports = [ ./part.nix { imports = [ ./part.nix ]; } ]; }',
    )
    expect(machine.options.tags).toEqual(['once'])
  })

  it('is read once when files require each other', async () => {
    nix.write(`${count + 1}/other.nix`, '{ require = [ ./0.nix ]; web.deployment.tags = [ "other" ]; }')
    const machine = await web('{ require = [ ./other.nix ./other.nix ]; web.deployment.tags = [ "first" ]; }')
    expect(machine.options.tags).toEqual(['first', 'other'])
  })

  it("may give keys in NixOps' old form, or as Morph's secrets", async () => {
    const { options } = await web(
      `{ web.deployment = { keys.old = "text"; secrets.morph = { source = ./0.nix; destination = "/etc/app/key"; owner.user = "www"; }; }; }`,
    )
    expect(options.keys).toMatchObject({
      old: { text: 'text', destDir: '/run/keys' },
      morph: { name: 'key', destDir: '/etc/app', user: 'www', permissions: '0400' },
    })
    expect(options.keys.morph?.keyFile).toMatch(/^\/.*\/0\.nix$/)
  })
})

describe('the arguments of a definition', () => {
  it('hold nodes, name, allocated addresses and paths of keys', async () => {
    nix.write(
      'cross.nix',
      `{ defaults.deployment.os = "debian";
         web = { nodes, name, config, uuid, deploymentName, resources, ... }: {
           deployment.tags = [
             name nodes.db.config.networking.privateIPv4 nodes.db.config.deployment.targetHost config.networking.hostName
             config.deployment.keys.a.path uuid deploymentName resources.machines.db.networking.hostName
           ];
           deployment.keys.a = { text = "1"; destDir = "/etc/k"; };
         };
         db = { name, ... }: { deployment.targetHost = "host-of-" + name; }; }`,
    )
    const { machines } = await nix.evaluate('cross.nix', { physical: { db: { privateIPv4: '192.0.2.2' } } })
    expect(machines.get(MachineName.parse('web'))?.options.tags).toEqual([
      'web',
      '192.0.2.2',
      'host-of-db',
      'web',
      '/etc/k/a',
      '8a4b1f2c-0000-4000-8000-000000000000',
      'lab',
      'db',
    ])
  })

  it('does not need them before they are known, where only the closure names them', async () => {
    nix.write(
      'first.nix',
      `{ defaults.deployment.os = "debian";
         db = { config, ... }: { deployment.files."/etc/own".text = "own ${'$'}{config.networking.privateIPv4}"; };
         web = { nodes, ... }: { deployment.files."/etc/db".text = "db ${'$'}{nodes.db.config.networking.privateIPv4}"; };
       }`,
    )
    const { machines, failed } = await nix.evaluate('first.nix', { mode: 'shape' })
    expect([...machines.keys()]).toEqual(['db', 'web'])
    expect(failed?.size ?? 0).toBe(0)
    const { message } = await nix.refusal('first.nix', { mode: 'read' })
    expect(message).toContain('cannot coerce null to a string')
    const known = { db: { privateIPv4: '192.0.2.2' } }
    expect((await nix.evaluate('first.nix', { mode: 'read', physical: known })).machines.size).toBe(2)
  })

  it("hold a user's own address before an allocated one", async () => {
    nix.write(
      'own.nix',
      `{ defaults.deployment.os = "debian"; web = { config, ... }: { networking.privateIPv4 = "192.0.2.9"; deployment.targetHost = config.networking.privateIPv4; }; }`,
    )
    const { machines } = await nix.evaluate('own.nix', { physical: { web: { privateIPv4: '192.0.2.1' } } })
    expect(machines.get(MachineName.parse('web'))?.options.targetHost).toBe('192.0.2.9')
  })
})

describe('the network', () => {
  it('has the Hydra that builds it, and names a wrong option of it', async () => {
    const { hydra } = await network(
      '{ network.hydra = { url = "https://ci.example.org"; project = "infra"; }; }',
    )
    expect(hydra).toEqual({ url: 'https://ci.example.org', project: 'infra' })
    await expect(network('{ network.hydra.url = "ci.example.org"; }')).rejects.toThrow(
      'network.hydra.url: expected a URL such as "https://hydra.example.org", without user and password, got "ci.example.org"',
    )
    await expect(network('{ network.hydra.projekt = "x"; }')).rejects.toThrow(
      "network.hydra.projekt: unknown option; did you mean 'project'?",
    )
  })

  it('has name, description and ordering; later files win, and meta means network', async () => {
    const { name, description, ordering } = await network(
      '{ meta = { name = "n"; description = "first"; }; }',
      '{ network = { description = "second"; ordering.tags = [ "db" "web" ]; enableRollback = true; }; }',
    )
    expect({ name, description, ordering }).toEqual({
      name: 'n',
      description: 'second',
      ordering: ['db', 'web'],
    })
  })

  it('may lie in a file or folder of any name', async () => {
    const name = 'a "strange" ${name} $(id) é'
    nix.write(`${name}/default.nix`, '{ require = [ ./part.nix ]; web.imports = [ ./part ]; }')
    nix.write(`${name}/part.nix`, '{ web.deployment.os = "debian"; }')
    nix.write(`${name}/part/default.nix`, '{ deployment.targetHost = "found"; }')
    const { machines } = await nix.evaluate(name)
    const machine = machines.get(MachineName.parse('web'))
    expect(machine?.options.targetHost).toBe('found')
    expect(machine?.origins['deployment.targetHost']).toEqual([`${nix.folder}/${name}/part/default.nix`])
  })

  it('gives nixpkgs as pkgs and its lib as lib, in each accepted form', async () => {
    nix.write(
      'pkgs/default.nix',
      '{ system ? "x", ... }: { lib = { mkDefault = v: "from nixpkgs"; }; hello = "hi"; }',
    )
    for (const given of ['../pkgs', 'import ../pkgs { }', 'import ../pkgs']) {
      const machine = await web(
        `{ network.nixpkgs = ${given}; web = { pkgs, lib, special, ... }: { deployment.tags = [ pkgs.hello (lib.mkDefault 1) special ]; };
           network.specialArgs.special = "arg"; }`,
      )
      expect(machine.options.tags).toEqual(['hi', 'from nixpkgs', 'arg'])
    }
  })

  it('refuses a nixpkgs that needs a newer Nix, and names a way to get one', async () => {
    nix.write('new/default.nix', '{ ... }: { lib = { }; }')
    nix.write('new/lib/minver.nix', '"99.1"')
    nix.write(
      'minver.nix',
      '{ network.nixpkgs = ./new; web = { lib, pkgs, ... }: { deployment.os = "debian"; deployment.targetHost = pkgs.x; }; }',
    )
    const error = await nix.refusal('minver.nix')
    expect(error.message).toMatch(/network\.nixpkgs needs Nix 99\.1 or newer; this is Nix \d/)
    expect(error.hint).toContain('nixos.org/download')
    expect(error.exitCode).toBe(2)
  })

  it('accepts function arguments as Nix text, relative paths from the current folder', async () => {
    nix.write(
      'args.nix',
      '{ port, text ? "d", flag ? true }: { web.deployment = { os = "debian"; targetPort = port; tags = [ text ]; alwaysActivate = flag; }; }',
    )
    const args = { port: '2000 + 222 # a comment', text: `"it's \${"quoted"}"` }
    const machine = (await nix.evaluate('args.nix', { args })).machines.get(MachineName.parse('web'))
    expect(machine?.options).toMatchObject({ targetPort: 2222, tags: ["it's quoted"], alwaysActivate: true })
    const wrong = await nix.refusal('args.nix', { args: { port: '22 +', text: '"x"' } })
    expect([wrong.exitCode, wrong.message]).toEqual([
      2,
      "function argument 'port': syntax error, unexpected ')'",
    ])
  })
})
