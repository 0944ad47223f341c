import { afterEach, beforeEach, expect, it } from 'vitest'
import { keyUnitName } from '../../src/core/key-unit-name.js'
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

/** Evaluates a machine with keys, and returns values that expressions compute from its configuration. */
async function valuesOf(definitions: string, values: string, nixpkgs: string): Promise<unknown[]> {
  nix.write(
    'web.nix',
    `{ network.nixpkgs = ${nixpkgs}; web = { config, lib, pkgs, ... }: { ${bootable} ${definitions}
       deployment.owners = map builtins.toJSON [ ${values} ]; }; }`,
  )
  const { options } = machineOf(await nix.evaluate('web.nix', { mode: 'write' }), 'web')
  return options.owners.map((text) => JSON.parse(text))
}

const token = 'deployment.keys.token.text = "secret";'

it.each([
  ['today', () => fixtureNixpkgs],
  ['2017', () => oldNixpkgs],
])(
  'a key of a NixOS machine of %s has a unit that waits for the file and ends with the file',
  async (_, of) => {
    const values = `config.systemd.services.token-key.serviceConfig
    config.systemd.services.token-key.restartIfChanged config.systemd.paths.token-key.wantedBy
    config.systemd.paths.token-key.pathConfig`
    expect(await valuesOf(token, values, of())).toEqual([
      {
        ExecStartPre: `/bin/sh -c 'until [ -e "$$0" ]; do sleep 1; done' "/run/keys/token"`,
        ExecStart: `/bin/sh -c 'while [ -e "$$0" ]; do sleep 5; done' "/run/keys/token"`,
        TimeoutStartSec: 'infinity',
      },
      false,
      ['paths.target'],
      { PathExists: '/run/keys/token' },
    ])
  },
)

it('a service of a NixOS machine can require a key by the name of NixOps', async () => {
  const own =
    'systemd.services.web = { after = [ "token-key.service" ]; requires = [ "token-key.service" ]; };'
  expect(await valuesOf(`${token} ${own}`, 'config.systemd.services.web.requires', fixtureNixpkgs)).toEqual([
    ['token-key.service'],
  ])
})

it('a name of a key becomes the name of its unit on NixOS as on Debian', async () => {
  const names = ['db password', '.hidden', 'a@b', 'a\\b', 'x*?[]{}', 'a.b_c:d', '$(id)', '"quoted"']
  const keys = names.map((name) => `deployment.keys.${JSON.stringify(name).replace('$', '\\$')}.text = "x";`)
  const services = '(builtins.attrNames config.systemd.services)'
  const [found] = await valuesOf(keys.join('\n'), services, fixtureNixpkgs)
  expect(found).toEqual(names.map((name) => keyUnitName(name)?.replace(/\.service$/, '')).sort())
})

it('a path of a key keeps its characters in the unit, where systemd would expand them', async () => {
  const key = String.raw`deployment.keys.a = { text = "x"; destDir = "/srv/50 %h \$x \\ \"q\""; };`
  const [path, command] = await valuesOf(
    key,
    'config.systemd.paths.a-key.pathConfig.PathExists config.systemd.services.a-key.serviceConfig.ExecStart',
    fixtureNixpkgs,
  )
  expect(path).toBe(String.raw`/srv/50 %%h $x \ "q"/a`)
  expect(String(command).split("done' ")[1]).toBe(String.raw`"/srv/50 %%h $$x \\ \"q\"/a"`)
})

it('a definition of the user wins over the unit of a key', async () => {
  const own = 'systemd.services.token-key.serviceConfig.ExecStart = "/bin/own";'
  const value = 'config.systemd.services.token-key.serviceConfig.ExecStart'
  expect(await valuesOf(`${token} ${own}`, value, fixtureNixpkgs)).toEqual(['/bin/own'])
})

it('a key whose name has characters other than those of ASCII has no unit on NixOS', async () => {
  const keys = 'deployment.keys."schlüssel".text = "x"; deployment.keys."two\\nlines".text = "x";'
  const [services, paths] = await valuesOf(
    keys,
    '(builtins.attrNames config.systemd.services) (builtins.attrNames config.systemd.paths)',
    fixtureNixpkgs,
  )
  expect([services, paths]).toEqual([[], []])
})
