import * as z from 'zod'
import { calendarOf } from '../src/core/calendar.js'
import { optionName } from '../src/core/option-name.js'
import { insteadOfPeerOption } from './peer-options.js'

/** A definition of the user that evaluates but does not do what its author wants (nix/modules/traps.nix). */
export const Trap = z.object({
  trap: z.enum(['cron', 'ident', 'localhost', 'machines', 'no-builder', 'no-map', 'root']),
  option: z.array(z.string()),
  files: z.array(z.string()),
  values: z.array(z.string()),
})
export type Trap = z.infer<typeof Trap>

/** Explains a trap, with the line that fixes it. */
export function trapText({ trap, option, values }: Trap): string {
  const name = optionName(option)
  switch (trap) {
    case 'cron':
      return values.map((value) => cronText(name, value)).join('; ')
    case 'ident':
      return `${name}: the line "${values[0]}" comes before the line of nixpkgs, and its map has no superuser: hydra-init cannot set up the database; remove the line, or add "${values[1]} postgres postgres" to services.postgresql.identMap`
    case 'localhost':
      return `${name}: localhost becomes ssh://localhost, so Hydra logs in to its own machine to build; add protocol = null; to the builder`
    case 'machines':
      return `${name}: this release of Hydra ignores buildMachines; write services.hydra-builder = { enable = true; queueRunnerAddr = "http://HOST:50051"; }; on each builder`
    case 'no-builder':
      return `${name}: this release of Hydra builds nothing without a builder, not even here; write services.hydra-builder = { enable = true; queueRunnerAddr = "http://[::1]:50051"; };`
    case 'no-map':
      return `${name}: the line "${values[0]}" comes before the line of Hydra and has no map: Hydra's programs cannot log in to the database; define the line with lib.mkAfter, and without lib.mkForce`
    case 'root':
      return `${name}: the list replaces the default, and root is no longer trusted; add "root" to the list`
  }
}

function cronText(name: string, value: string): string {
  const read = calendarOf(value)
  const mend =
    'problem' in read
      ? read.problem
      : `write ${name} = ${read.events.map((each) => JSON.stringify(each)).join(' or ')};`
  return `${name}: "${value}" is a cron line, which systemd ignores, so nothing ever runs; ${mend}`
}

/** Options that some releases of nixpkgs lack, with the alternative. */
const elsewhere: readonly (readonly [RegExp, string])[] = [
  [/^services\.nixosManual(?:\.|$)/, 'newer releases have documentation.nixos.enable; remove showManual'],
  [/^services\.hydra\.dbi$/, 'this release has services.hydra.dbUrl'],
  [/^services\.hydra\.buildMachinesFiles$/, 'in this release, each builder has services.hydra-builder'],
  [/^services\.postgresql\.extraConfig$/, 'this release has services.postgresql.settings'],
  [
    /^services\.postfix\.(?:extraConfig|relayHost|relayPort)$/,
    'this release has services.postfix.settings.main',
  ],
  [/^services\.postgresql\.ensureUsers.*ensurePermissions$/, 'this release has ensureDBOwnership = true'],
  [/^services\.nginx\..*enableSSL$/, 'this release has forceSSL, addSSL and onlySSL'],
  [
    /^services\.openssh\.settings$/,
    'older releases have services.openssh.passwordAuthentication and permitRootLogin',
  ],
  [/^nix\.settings$/, 'releases before 22.05 have nix.trustedUsers, nix.maxJobs and nix.extraOptions'],
  [/^nix\.autoOptimiseStore$/, 'this release has nix.extraOptions = "auto-optimise-store = true"'],
  [/^boot\.binfmt(?:\.|$)/, 'releases before 19.09 have boot.binfmtMiscRegistrations'],
]

/** Returns a hint for an error of the module system about an option that this release lacks. */
export function hintForOption(message: string): string | undefined {
  const [, named = message.match(/^The option definition `([^']+)'.*no longer has any effect/s)?.[1] ?? ''] =
    /^The option `([^']+)' (?:(?:defined in `.*' )?does not exist|can no longer be used)/.exec(message) ?? []
  return insteadOfPeerOption(named) ?? elsewhere.find(([option]) => option.test(named))?.[1]
}
