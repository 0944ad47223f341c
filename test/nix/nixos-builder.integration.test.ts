import { afterEach, beforeEach, expect, it } from 'vitest'
import type { MachineDefinition } from '../../src/core/definition.js'
import { setupTasks } from '../../src/setup/tasks.js'
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

const builder =
  'deployment.builder = { enable = true; for = [ "ci" ]; supportedFeatures = [ "big-parallel" ]; mandatoryFeatures = [ "gpu" ]; };'

async function evaluated(definitions: string, nixpkgs: string): Promise<MachineDefinition> {
  nix.write(
    'b1.nix',
    `{ network.nixpkgs = ${nixpkgs}; b1 = { config, lib, pkgs, ... }: { ${bootable} ${definitions} }; }`,
  )
  return machineOf(await nix.evaluate('b1.nix', { mode: 'write' }), 'b1')
}

/** Evaluates a builder, and returns values that expressions compute from its configuration. */
async function valuesOf(definitions: string, values: string, nixpkgs: string): Promise<unknown[]> {
  const owners = `deployment.owners = map builtins.toJSON [ ${values} ];`
  const { options } = await evaluated(`${builder} ${definitions} ${owners}`, nixpkgs)
  return options.owners.map((text) => JSON.parse(text))
}

const account = `config.users.users.nix-builder.home config.users.users.nix-builder.shell
  config.users.users.nix-builder.group (config.users.groups ? nix-builder) config.services.openssh.enable`

const accountValues = ['/var/lib/hydra-ops-builder/nix-builder', '/bin/sh', 'nix-builder', true, true]

it('a NixOS builder of today has the account, the trust and the features', async () => {
  const values = `${account} config.nix.settings.trusted-users config.nix.settings.extra-system-features`
  expect(await valuesOf('', values, fixtureNixpkgs)).toEqual([
    ...accountValues,
    ['root', 'nix-builder'],
    ['big-parallel', 'gpu'],
  ])
})

it('a NixOS builder of 2017 has the same under the names of its nixpkgs', async () => {
  const values = `${account} (lib.elem "nix-builder" config.nix.trustedUsers) config.nix.extraOptions`
  expect(await valuesOf('', values, oldNixpkgs)).toEqual([
    ...accountValues,
    true,
    'extra-system-features = big-parallel gpu\n',
  ])
})

const cache = 'deployment.builder.cache.enable = true;'
const reader =
  'config.users.users.nix-cache.home config.users.users.nix-cache.shell config.users.users.nix-cache.group'
const readerValues = ['/var/lib/hydra-ops-builder/nix-cache', '/bin/sh', 'nix-cache']

it('a NixOS builder with a cache has the account that reads, distrusts it, and includes its settings', async () => {
  const values = `${reader} config.nix.extraOptions config.nix.settings.trusted-users`
  expect(await valuesOf(cache, values, fixtureNixpkgs)).toEqual([
    ...readerValues,
    '!include /etc/nix/hydra-ops-signing.conf\n',
    ['root', 'nix-builder'],
  ])
})

it('a NixOS builder of 2017 with a cache keeps its features beside the settings of the cache', async () => {
  expect(await valuesOf(cache, `${reader} config.nix.extraOptions`, oldNixpkgs)).toEqual([
    ...readerValues,
    expect.stringMatching(
      /^!include \/etc\/nix\/hydra-ops-signing\.conf\n+extra-system-features = big-parallel gpu\n+$/,
    ),
  ])
})

it('a Nix in a home changes nothing in the configuration of its machine', async () => {
  const values = '(config.users.users ? nix-builder) (config.users.users ? alice)'
  const wrapper =
    'deployment.builder.wrapper = [ "/home/alice/enter" ]; deployment.builder.sshUser = "alice";'
  expect(await valuesOf(wrapper, values, fixtureNixpkgs)).toEqual([false, false])
})

it('a builder for the operator has the same configuration as one for a machine', async () => {
  const forOperator = 'deployment.builder = { enable = true; for = "operator"; };'
  const { options } = await evaluated(forOperator, fixtureNixpkgs)
  expect(options.builder).toMatchObject({ enable: true, for: 'operator', cache: { enable: false } })
})

it('a definition of the user wins over the account of a NixOS builder', async () => {
  const own = 'users.users.nix-builder.home = "/srv/builder"; services.openssh.enable = lib.mkForce false;'
  const values = 'config.users.users.nix-builder.home config.services.openssh.enable'
  expect(await valuesOf(own, values, fixtureNixpkgs)).toEqual(['/srv/builder', false])
})

it('a NixOS machine emulates the systems of its definition and its own ones, as a builder or not', async () => {
  const emulated = 'deployment.binfmt.emulatedSystems = [ "aarch64-linux" ];'
  const own = 'boot.binfmt.emulatedSystems = [ "riscv64-linux" ];'
  const values = '(lib.sort (a: b: a < b) config.boot.binfmt.emulatedSystems)'
  const systems = ['aarch64-linux', 'riscv64-linux']
  expect(await valuesOf(`${emulated} ${own}`, values, fixtureNixpkgs)).toEqual([systems])
  const owners = `deployment.owners = map builtins.toJSON [ ${values} ];`
  const { options } = await evaluated(`${emulated} ${own} ${owners}`, fixtureNixpkgs)
  expect(options.owners.map((text) => JSON.parse(text))).toEqual([systems])
})

it('a NixOS builder leaves the keys to the set-up task, which makes no user there', async () => {
  const definition = await evaluated(builder, fixtureNixpkgs)
  const machine = { definition, deployment: 'lab', publishedPort: () => undefined }
  const tasks = setupTasks.flatMap((bind) => bind(machine) ?? [])
  const task = tasks.find(({ id }) => id === 'builder')
  expect(JSON.parse(task?.inputs ?? '{}')).toMatchObject({ makesUser: false, user: 'nix-builder' })
})
