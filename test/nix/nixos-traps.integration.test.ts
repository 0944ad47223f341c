import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bootable } from './nixos-networks.js'
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

const hydra = 'services.hydra = { enable = true; hydraURL = "http://h"; notificationSender = "a@b"; };'
/** Options of newer Hydras, whose queue runner assigns work to builder services. */
const newer =
  'options.services = { hydra.dbUrl = lib.mkOption { default = ""; }; hydra-builder = { enable = lib.mkOption { default = false; }; queueRunnerAddr = lib.mkOption { default = ""; }; }; };'

/** Returns the warnings of a machine about its traps. */
async function warnings(config: string, nixpkgs = fixtureNixpkgs, options = ''): Promise<string[]> {
  nix.write(
    'hydra.nix',
    `{ network.nixpkgs = ${nixpkgs}; ci = { lib, ... }: { ${options} config = { ${bootable} ${config} }; }; }`,
  )
  nix.logged.splice(0)
  await nix.evaluate('hydra.nix')
  const start = "warning: machine 'ci' (hydra.nix): "
  return nix.logged.flatMap((line) =>
    line.startsWith(start) && !line.includes('has been renamed') ? [line.slice(start.length)] : [],
  )
}

const remote = '{ hostName = "b"; systems = [ "x86_64-linux" ]; }'
const local = '{ hostName = "localhost"; systems = [ "x86_64-linux" ]; }'

describe('a trap in a definition of NixOS', () => {
  it.each([
    [
      'a line of cron in nix.gc.dates',
      'nix.gc = { automatic = true; dates = "15 3 * * 0"; };',
      /^nix\.gc\.dates: "15 3 \* \* 0" is a cron line, which systemd ignores, so nothing ever runs; write nix\.gc\.dates = "Sun \*-\*-\* 3:15:00";$/,
    ],
    [
      'a word of cron',
      'nix.gc = { automatic = true; dates = "@daily"; };',
      /^nix\.gc\.dates: "@daily" is a cron line/,
    ],
    [
      'localhost among the builders of a Hydra',
      `${hydra} nix.buildMachines = [ ${remote} ${local} ];`,
      /^nix\.buildMachines: localhost becomes ssh:\/\/localhost.*; add protocol = null; to the builder$/,
    ],
    [
      'trusted users without root',
      'nix.settings.trusted-users = lib.mkForce [ "alice" ];',
      /^nix\.settings\.trusted-users: the list replaces the default, and root is no longer trusted; add "root"/,
    ],
    [
      'trusted users without root, by the old name',
      'nix.trustedUsers = [ "alice" ];',
      /^nix\.settings\.trusted-users: .*root is no longer trusted/,
    ],
    [
      'an own line of pg_hba.conf without a map, before that of Hydra',
      `${hydra} services.postgresql.enable = true; services.postgresql.authentication = "local all all peer";`,
      /^services\.postgresql\.authentication: the line "local all all peer" comes before the line of Hydra and has no map.*; define the line with lib\.mkAfter/,
    ],
    [
      'own lines of pg_hba.conf that remove the line of Hydra',
      `${hydra} services.postgresql.enable = true; services.postgresql.authentication = lib.mkForce "local hydra all ident";`,
      /^services\.postgresql\.authentication: the line "local hydra all ident" comes before the line of Hydra and has no map/,
    ],
    [
      'an own line of pg_hba.conf with a map that lacks the superuser',
      `${hydra} services.postgresql = { authentication = "local hydra all ident map=mine"; identMap = "mine root hydra"; };`,
      /^services\.postgresql\.authentication: the line "local hydra all ident map=mine" comes before .*, or add "mine postgres postgres" to services\.postgresql\.identMap$/,
    ],
  ])('is reported with the line that fixes it: %s', async (_, config, sentence) => {
    expect(await warnings(config)).toEqual([expect.stringMatching(sentence)])
  })

  it.each([
    [
      'builders that the newer Hydra ignores',
      `nix.buildMachines = [ ${remote} ];`,
      /^nix\.buildMachines: this release of Hydra ignores/,
    ],
    [
      'a newer Hydra without any builder',
      '',
      /^services\.hydra\.enable: this release of Hydra builds nothing without a builder/,
    ],
  ])('is reported for a Hydra with builders of its own: %s', async (_, config, sentence) => {
    const told = await warnings(`${hydra} ${config}`, fixtureNixpkgs, newer)
    expect(told).toContainEqual(expect.stringMatching(sentence))
  })

  it.each([
    ['a calendar event', 'nix.gc = { automatic = true; dates = "weekly"; };', fixtureNixpkgs],
    ['a line of cron of a collection that is off', 'nix.gc.dates = "15 3 * * *";', fixtureNixpkgs],
    [
      'localhost without a protocol',
      `${hydra} nix.buildMachines = [ (${local} // { protocol = null; }) ];`,
      fixtureNixpkgs,
    ],
    ['localhost without a Hydra', `nix.buildMachines = [ ${local} ];`, fixtureNixpkgs],
    [
      'localhost in a release that prints the bare name',
      `${hydra} nix.buildMachines = [ ${local} ];`,
      oldNixpkgs,
    ],
    [
      'a map with the superuser',
      `${hydra} services.postgresql = { authentication = "local hydra all ident map=mine"; identMap = "mine postgres postgres"; };`,
      fixtureNixpkgs,
    ],
    [
      'an own map in a release whose hydra-init needs no superuser there',
      `${hydra} services.postgresql.authentication = "local hydra all ident map=mine";`,
      oldNixpkgs,
    ],
    [
      'an own line behind that of Hydra',
      `${hydra} services.postgresql.enable = true; services.postgresql.authentication = lib.mkAfter "local all all peer";`,
      fixtureNixpkgs,
    ],
    ['nothing of the user', `${hydra}`, fixtureNixpkgs],
  ])('is not told of %s', async (_, config, nixpkgs) => {
    expect(await warnings(config, nixpkgs)).toEqual([])
  })
})

describe('an option that the release of nixpkgs does not have', () => {
  it.each([
    [
      'nix.autoOptimiseStore = true;',
      oldNixpkgs,
      'this release has nix.extraOptions = "auto-optimise-store = true"',
    ],
    [
      'nix.settings.cores = 2;',
      oldNixpkgs,
      'releases before 22.05 have nix.trustedUsers, nix.maxJobs and nix.extraOptions',
    ],
    [
      'boot.binfmt.emulatedSystems = [ "aarch64-linux" ];',
      oldNixpkgs,
      'releases before 19.09 have boot.binfmtMiscRegistrations',
    ],
    [
      'services.nixosManual.showManual = true;',
      fixtureNixpkgs,
      'newer releases have documentation.nixos.enable; remove showManual',
    ],
  ])('is an error with the way of that release: %s', async (config, nixpkgs, hint) => {
    nix.write('hydra.nix', `{ network.nixpkgs = ${nixpkgs}; ci = { ${bootable} ${config} }; }`)
    const error = await nix.refusal('hydra.nix')
    expect(error.message).toMatch(/^machine 'ci' \(hydra\.nix\): The option .* does not exist/)
    expect(error.hint).toBe(hint)
  })
})
