import { describe, expect, it } from 'vitest'
import { hintForOption } from '../../nix/nixos-traps.js'

/** Options that some releases lack, with their hints. */
const hints: [option: string, hint: string][] = [
  ['services.nixosManual.showManual', 'remove showManual'],
  ['services.hydra.dbi', 'services.hydra.dbUrl'],
  ['services.hydra.buildMachinesFiles', 'services.hydra-builder'],
  ['services.postgresql.extraConfig', 'services.postgresql.settings'],
  ['services.postfix.relayHost', 'services.postfix.settings.main'],
  ['services.postfix.extraConfig', 'services.postfix.settings.main'],
  ['services.nginx.virtualHosts.h.enableSSL', 'forceSSL'],
  ['services.openssh.settings', 'services.openssh.passwordAuthentication'],
  ['nix.settings', 'nix.trustedUsers'],
  ['nix.autoOptimiseStore', 'auto-optimise-store'],
  ['boot.binfmt.emulatedSystems', 'boot.binfmtMiscRegistrations'],
]

describe('an option that this release of nixpkgs lacks', () => {
  it.each(hints)('has its hint in the words of every release: %s', (option, hint) => {
    for (const message of [
      `The option \`${option}' does not exist. Definition values: - In \`hydra.nix': true`,
      `The option \`${option}' defined in \`hydra.nix' does not exist.`,
      `The option \`${option}' can no longer be used since it's been removed. Use another.`,
      `The option definition \`${option}' in \`hydra.nix' no longer has any effect; please remove it.`,
    ])
      expect(hintForOption(message), message).toContain(hint)
  })

  it('has no hint if nobody knows another way', () => {
    expect(hintForOption("The option `services.quux' does not exist.")).toBeUndefined()
    expect(hintForOption("A definition for option `nix.settings' is not of type `string'.")).toBeUndefined()
  })
})
