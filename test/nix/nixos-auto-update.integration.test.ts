import { afterEach, beforeEach, expect, it } from 'vitest'
import { debianProfile, machineLock, ownerFile, updateResultFile } from '../../src/core/machine-places.js'
import { targetFile } from '../../src/core/target-file.js'
import { targetScript } from '../../src/remote/target-scripts.js'
import {
  awaitsFile,
  bootOnceFolder,
  bootOnceProfile,
  pendingFile,
  runsFolder,
  systemProfile,
} from '../../src/systems/nixos/places.js'
import { usualTimes } from '../../src/systems/nixos/steps.js'
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

const hydra = 'network.hydra = { url = "https://hydra.example.org/"; project = "infra"; jobset = "main"; };'
const enabled = 'deployment.autoUpdate.enable = true;'

const written = (definitions: string, nixpkgs = fixtureNixpkgs, network = hydra) =>
  nix.write(
    'web.nix',
    `{ network.nixpkgs = ${nixpkgs}; ${network} web = { config, lib, pkgs, ... }: { ${bootable} ${definitions} }; }`,
  )

/** Evaluates a machine, and returns values that expressions compute from its configuration. */
async function valuesOf(definitions: string, values: string, nixpkgs?: string, network?: string) {
  written(`${definitions} deployment.owners = map builtins.toJSON [ ${values} ];`, nixpkgs, network)
  const { options } = machineOf(await nix.evaluate('web.nix', { mode: 'write' }))
  return options.owners.map((text) => JSON.parse(text))
}

const file =
  '(builtins.fromJSON (builtins.unsafeDiscardStringContext config.environment.etc."hydra-ops/auto-update.json".source.text))'

async function configurationOf(definitions: string, network?: string): Promise<Record<string, unknown>> {
  const [found] = await valuesOf(`${enabled} ${definitions}`, file, undefined, network)
  return found
}

it.each([
  ['today', () => fixtureNixpkgs],
  ['2017', () => oldNixpkgs],
])('a NixOS machine of %s has a service that no switch touches, and its timer', async (_, of) => {
  const service = 'config.systemd.services.hydra-ops-auto-update'
  const timer = 'config.systemd.timers.hydra-ops-auto-update'
  const values = `${service}.restartIfChanged ${service}.unitConfig ${service}.serviceConfig.Type
    (map (each: each.name) ${service}.path) ${timer}.wantedBy (lib.mapAttrs (_: value: value.content or value) ${timer}.timerConfig)`
  const [restarts, unit, type, path, wanted, times] = await valuesOf(enabled, values, of())
  expect([restarts, unit, type, wanted]).toEqual([
    false,
    { 'X-StopOnRemoval': false },
    'oneshot',
    ['timers.target'],
  ])
  expect(path).toEqual(expect.arrayContaining(['curl', 'openssh', 'util-linux', 'nix-store', 'systemd']))
  expect(times).toEqual({ OnCalendar: '04:40', Persistent: true, RandomizedDelaySec: '15min' })
})

it('the program of a NixOS machine and its configuration are in the store, and so is perl', async () => {
  const [exec] = await valuesOf(
    enabled,
    'config.systemd.services.hydra-ops-auto-update.serviceConfig.ExecStart',
  )
  const store = '/nix/store/[0-9a-z]{32}'
  expect(exec).toMatch(
    new RegExp(
      `^${store}-perl/bin/perl ${store}-hydra-ops-auto-update.pl ${store}-hydra-ops-auto-update.json$`,
    ),
  )
})

it('the program of a NixOS machine finds the places and the times of a deploy', async () => {
  expect(await configurationOf('')).toMatchObject({
    url: 'https://hydra.example.org',
    project: 'infra',
    jobset: 'main',
    job: 'web',
    gate: 'release',
    owner: '8a4b1f2c-0000-4000-8000-000000000000',
    state: updateResultFile.replace(/\/[^/]*$/, ''),
    machineLock: machineLock.file,
    lock: machineLock.file.replace('set-up-by', 'auto-update.lock'),
    staleSeconds: machineLock.staleSeconds,
    ownerFile,
    roots: debianProfile.replace('profiles', 'gcroots'),
    runs: runsFolder,
    profile: systemProfile,
    pending: pendingFile,
    awaits: awaitsFile,
    once: bootOnceFolder,
    onceProfile: bootOnceProfile,
    times: { ...usualTimes, confirm: 180 },
  })
})

it('the program of a NixOS machine has the scripts of a deploy', async () => {
  const { scripts, placed } = await configurationOf('')
  const shared = (name: string) => targetScript(name).replace(/^# .*\n/, '')
  expect(scripts).toEqual({
    take: shared('machine-lock/take'),
    release: shared('machine-lock/release'),
    begin: shared('nixos/begin'),
    follow: shared('nixos/follow'),
    confirm: shared('nixos/confirm'),
    undo: shared('nixos/undo'),
    keepStart: shared('nixos/start-keep'),
    finish: shared('nixos/finish'),
    bootCheck: shared('nixos/boot-check'),
    bootStart: shared('nixos/boot-start'),
    bootConfirm: shared('nixos/boot-confirm'),
    bootForget: shared('nixos/boot-forget'),
  })
  for (const name of ['arm', 'guard', 'switch', 'keep', 'fallback'])
    expect(placed).toHaveProperty(name, targetFile(`nixos/${name}.sh`))
  expect(placed).toHaveProperty('prepare', shared('nixos/boot-prepare'))
})

it('an update of a NixOS machine takes what it does not say from the machine, and then from the network', async () => {
  const own = `deployment.autoUpdate = { jobset = "next"; maxAge = "36h"; healthChecks.systemd = [ { unit = "a.service"; } ]; };
    deployment.hydraSource = { jobset = "other"; job = "hosts.web"; gate = "tests"; };`
  expect(await configurationOf(own)).toMatchObject({
    project: 'infra',
    jobset: 'next',
    job: 'hosts.web',
    gate: 'tests',
    maxAge: 36 * 3600,
    healthChecks: { systemd: [{ unit: 'a.service' }] },
  })
})

it('an update of a NixOS machine runs the health checks of the deploy, with the programs that they name', async () => {
  const checks = 'deployment.healthChecks.cmd = [ { cmd = [ "${pkgs.hello}/bin/hello" ]; } ];'
  const path = expect.stringMatching(/^\/nix\/store\/.*-hello\/bin\/hello$/)
  expect(await configurationOf(checks)).toMatchObject({ healthChecks: { cmd: [{ cmd: [path] }] } })
})

it('an update of a NixOS machine asks the ssh server where it listens, and reads the keys of the login user', async () => {
  const listens = 'services.openssh.ports = [ 22 2222 ]; deployment.targetUser = "alice";'
  expect(
    await configurationOf(`${listens} users.users.alice = { home = "/srv/alice"; isNormalUser = true; };`),
  ).toMatchObject({
    ssh: {
      listens: [
        { address: '127.0.0.1', port: 22 },
        { address: '127.0.0.1', port: 2222 },
      ],
      authorizedKeys: ['/etc/ssh/authorized_keys.d/alice', '/srv/alice/.ssh/authorized_keys'],
    },
  })
})

it('a NixOS machine without the option has no timer, whatever the network says', async () => {
  const values =
    '(config.systemd.services ? hydra-ops-auto-update) (config.systemd.timers ? hydra-ops-auto-update) (config.environment.etc ? "hydra-ops/auto-update.json")'
  expect(await valuesOf('', values)).toEqual([false, false, false])
})

it('an update of a NixOS machine that may reboot runs a minute after each boot too, and no other does', async () => {
  const times = (timer: string) =>
    `(lib.mapAttrs (_: value: value.content or value) config.systemd.timers.${timer}.timerConfig)`
  const reboots = 'deployment.autoUpdate.allowReboot = true;'
  const both = `${times('hydra-ops-auto-update')} ${times('hydra-ops-auto-update-boot')}`
  expect(await valuesOf(`${enabled} ${reboots}`, both)).toEqual([
    { OnCalendar: '04:40', Persistent: true, RandomizedDelaySec: '15min' },
    // This timer has no random delay, because the fallback could otherwise reboot first.
    { OnBootSec: 60, Unit: 'hydra-ops-auto-update.service' },
  ])
  expect(await valuesOf(enabled, '(config.systemd.timers ? hydra-ops-auto-update-boot)')).toEqual([false])
  expect(await configurationOf(reboots)).toMatchObject({ allowReboot: true })
  expect(await configurationOf('')).toMatchObject({ allowReboot: false })
})

it('a definition of the user wins over the times of the timer of a NixOS machine', async () => {
  const own = 'systemd.timers.hydra-ops-auto-update.timerConfig.OnCalendar = "hourly";'
  const value = 'config.systemd.timers.hydra-ops-auto-update.timerConfig.OnCalendar'
  expect(await valuesOf(`${enabled} ${own}`, value)).toEqual(['hourly'])
})

it('an update of a NixOS machine that no option tells its Hydra is refused, with what to set', async () => {
  written(enabled, fixtureNixpkgs, '')
  expect(await nix.refusal('web.nix')).toMatchObject({
    exitCode: 2,
    message:
      "machine 'web': deployment.autoUpdate.enable: no option says which Hydra builds the machine (url)",
  })
})

it('a line of cron is refused for a NixOS machine, with the calendar event to write', async () => {
  written(`${enabled} deployment.autoUpdate.dates = "30 4 * * 1";`)
  expect((await nix.refusal('web.nix')).message).toContain(
    'deployment.autoUpdate.dates: NixOS does not support cron lines; write "Mon *-*-* 4:30:00"',
  )
})

it('an update of a NixOS machine beside system.autoUpgrade is refused', async () => {
  written(`${enabled} system.autoUpgrade.enable = true;`)
  expect((await nix.refusal('web.nix')).message).toContain(
    'deployment.autoUpdate and system.autoUpgrade both replace the system of this machine; leave one of them out.',
  )
})
