import { type AnyProvider, bindProvider } from '../src/core/bind-provider.js'
import type { LocalCommands, ProviderRegistry } from '../src/core/context.js'
import { usageError } from '../src/core/errors.js'
import type { Ssh } from '../src/core/ssh.js'
import { suggest } from '../src/core/suggest.js'

export interface RegistryParts {
  readonly local: LocalCommands
  readonly ssh: Ssh
  readonly env?: Readonly<Record<string, string | undefined>>
  /** npm packages, by name or by the absolute path of their folder, whose default export is a Provider. */
  readonly plugins?: readonly string[]
  /** The path by which the user started the program. */
  readonly startedAs?: string | undefined
}

/** Loaders of the built-in providers. A provider loads its own heavy modules at their first use. */
const builtIn: readonly ((parts: RegistryParts) => Promise<AnyProvider>)[] = [
  async ({ local }) => bindProvider((await import('./libvirt/index.js')).createLibvirtProvider({ local })),
  async ({ local, env }) => {
    const { createVirtualBoxProvider } = await import('./virtualbox/index.js')
    return bindProvider(createVirtualBoxProvider({ local, program: env?.HYDRA_OPS_VBOXMANAGE }))
  },
  async ({ ssh }) => bindProvider((await import('./ssh/index.js')).createSshProvider({ ssh })),
]

/** Creates the registry of all providers. Throws an error that names the plugin if a plugin cannot be used. */
export async function createRegistry(parts: RegistryParts): Promise<ProviderRegistry> {
  const [ours, theirs] = await Promise.all([
    Promise.all(builtIn.map((load) => load(parts))),
    loadPlugins(parts),
  ])
  const providers = [...ours, ...theirs]
  refuseDoubles(providers)
  return {
    all: () => providers,
    named: (name) => {
      const found = providers.find((provider) => provider.name === name)
      if (found === undefined) throw unknownProvider(name, providers)
      return found
    },
  }
}

function unknownProvider(name: string, providers: readonly AnyProvider[]): Error {
  const names = providers.map((provider) => provider.name)
  const close = suggest(name, names)
  return usageError(`there is no provider '${name}'`, {
    hint:
      close === undefined ? `the supported providers are ${names.join(', ')}` : `did you mean '${close}'?`,
  })
}

/** Loads the plugins of the user's settings. Their loader is imported only if the settings name a plugin. */
async function loadPlugins({ plugins = [], startedAs }: RegistryParts): Promise<AnyProvider[]> {
  if (plugins.length === 0) return []
  const [{ loadPlugin }, { DebianOptions }, { ClosureOptions }] = await Promise.all([
    import('./plugins/load.js'),
    import('../src/core/debian-options.js'),
    import('../src/core/closure-options.js'),
  ])
  const commonOptions = ['os', ...Object.keys(DebianOptions.shape), ...Object.keys(ClosureOptions.shape)]
  return await Promise.all(plugins.map((plugin) => loadPlugin(plugin, { startedAs, commonOptions })))
}

function refuseDoubles(providers: readonly AnyProvider[]): void {
  const seen = new Map<string, string>()
  for (const { name, targetEnvs, optionKey } of providers) {
    const option = optionKey === undefined ? [] : [`deployment.${optionKey}`]
    const words = new Set([name, ...targetEnvs, ...option])
    for (const word of words) {
      const other = seen.get(word)
      if (other !== undefined) {
        throw usageError(`providers '${other}' and '${name}' both use the name '${word}'`, {
          hint: 'remove one of the plugins; hydra-ops config get plugins lists them',
        })
      }
    }
    for (const word of words) seen.set(word, name)
  }
}
