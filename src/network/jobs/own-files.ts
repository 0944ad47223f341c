import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../core/package-root.js'
import { writtenBy } from './written-by.js'

/** The part of a provider that the evaluation of a network needs. */
export interface ProviderOptions {
  readonly name: string
  readonly optionKey: string | undefined
  /** Absolute path of the NixOS module that declares the options. */
  readonly optionsNix: string
}

/** Scripts in the system of a NixOS machine that updates itself (nix/modules/auto-update.nix). */
const ofSystems = /^(?:auto-update|machine-lock|nixos)\/[^/]+\.(?:pl|sh)$|^lib\.sh$/

/** Files that Hydra's jobs never read. */
const needless = new Set(['nixos-image.nix', 'show-option.nix', 'modules/image.nix', 'modules/traps.nix'])

/**
 * Returns the files of hydra-ops that evaluate a network, by their paths below `hydra/hydra-ops`. A Hydra evaluates
 * this copy in the network's repository, because a Hydra reads only its inputs.
 */
export function ownFiles(providers: readonly ProviderOptions[]): Map<string, string> {
  const folder = join(packageRoot(), 'nix')
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(?:nix|pl)$/.test(name) && !needless.has(name))
    .sort()
  const target = join(packageRoot(), 'target')
  const scripts = readdirSync(target, { recursive: true, encoding: 'utf8' })
    .filter((name) => ofSystems.test(name))
    .sort()
  const settings = {
    about: writtenBy,
    optionKeys: providers.flatMap(({ optionKey }) => optionKey ?? []).sort(),
    providerModules: providers.map(({ name }) => name).sort(),
  }
  return new Map([
    ['settings.json', `${JSON.stringify(settings, undefined, 2)}\n`],
    ...names.map((name) => [`nix/${name}`, readFileSync(join(folder, name), 'utf8')] as const),
    ...scripts.map((name) => [`target/${name}`, readFileSync(join(target, name), 'utf8')] as const),
    ...providers.map(
      ({ name, optionsNix }) => [`providers/${name}/options.nix`, readFileSync(optionsNix, 'utf8')] as const,
    ),
  ])
}
