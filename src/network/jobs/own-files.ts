import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../core/package-root.js'
import { writtenBy } from './written-by.js'

/** A provider, as far as the evaluation of a network depends on it. */
export interface ProviderOptions {
  readonly name: string
  readonly optionKey: string | undefined
  /** The NixOS module with the options. */
  readonly optionsNix: string
}

/** Scripts that are a part of the system of a NixOS machine that updates itself (nix/modules/auto-update.nix). */
const ofSystems = /^(?:auto-update|machine-lock|nixos)\/[^/]+\.(?:pl|sh)$|^lib\.sh$/

/** Files that the jobs of a Hydra never read. */
const needless = new Set(['nixos-image.nix', 'show-option.nix', 'modules/image.nix', 'modules/traps.nix'])

/**
 * Returns the part of hydra-ops that evaluates a network, by the path below `hydra/hydra-ops`. A Hydra evaluates the
 * copy in the network's repository, because it reads nothing but its inputs.
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
