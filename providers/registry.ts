import { type AnyProvider, bindProvider } from '../src/core/bind-provider.js'
import type { LocalCommands, ProviderRegistry } from '../src/core/context.js'
import { messageOf, usageError } from '../src/core/errors.js'
import type { Json } from '../src/core/json.js'
import type { Provider } from '../src/core/provider.js'
import type { Ssh } from '../src/core/ssh.js'
import { suggest } from '../src/core/suggest.js'

export interface RegistryParts {
  readonly local: LocalCommands
  readonly ssh: Ssh
  readonly env?: Readonly<Record<string, string | undefined>>
  /** npm packages (or absolute paths) whose default export is a Provider. */
  readonly plugins?: readonly string[]
}

/** Values of `deployment.targetEnv` that are planned. */
export const plannedProviders: readonly string[] = []

/** Loaders of the built-in providers. A provider loads its own heavy modules at their first use. */
const builtIn: readonly ((parts: RegistryParts) => Promise<AnyProvider>)[] = [
  async ({ local }) => bindProvider((await import('./libvirt/index.js')).createLibvirtProvider({ local })),
  async ({ local, env }) => {
    const { createVirtualBoxProvider } = await import('./virtualbox/index.js')
    return bindProvider(createVirtualBoxProvider({ local, program: env?.HYDRA_OPS_VBOXMANAGE }))
  },
  async ({ ssh }) => bindProvider((await import('./ssh/index.js')).createSshProvider({ ssh })),
]

/** Creates the registry of all providers. A plugin that cannot be used is an error that names it. */
export async function createRegistry(parts: RegistryParts): Promise<ProviderRegistry> {
  const providers = await Promise.all([
    ...builtIn.map((load) => load(parts)),
    ...(parts.plugins ?? []).map(loadPlugin),
  ])
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

async function loadPlugin(plugin: string): Promise<AnyProvider> {
  const hint = 'hydra-ops config get plugins lists the configured plugins'
  let module: { readonly default?: unknown }
  try {
    module = await import(plugin)
  } catch (error) {
    throw usageError(`provider plugin '${plugin}' cannot be loaded: ${messageOf(error)}`, {
      cause: error,
      hint,
    })
  }
  const lack = lackOf(module.default)
  if (lack !== undefined)
    throw usageError(`provider plugin '${plugin}': its default export ${lack}`, { hint })
  return bindProvider(module.default as Provider<Json, Json, Json>)
}

const neededMethods = [
  'imageReference',
  'imageId',
  'allocate',
  'ports',
  'physical',
  'publishedUrls',
  'inspect',
  'plan',
  'reconcile',
  'start',
  'stop',
  'destroy',
  'target',
  'resourceId',
] as const

/** Says why a value is no provider; undefined = the value has the shape of a provider. */
function lackOf(candidate: unknown): string | undefined {
  if (typeof candidate !== 'object' || candidate === null) return 'is not a provider'
  const has = (key: string): unknown => Reflect.get(candidate, key)
  const text = ['name', 'optionsNix'].find((key) => typeof has(key) !== 'string')
  if (text !== undefined) return `has no '${text}'`
  const words = has('targetEnvs')
  if (!Array.isArray(words) || words.length === 0) return "has no 'targetEnvs'"
  if (typeof has('makesMachines') !== 'boolean') return "has no boolean 'makesMachines'"
  const schema = ['configSchema', 'allocationSchema', 'handleSchema'].find((key) => !isSchema(has(key)))
  if (schema !== undefined) return `has no '${schema}' (a zod schema)`
  const method = neededMethods.find((key) => typeof has(key) !== 'function')
  return method === undefined ? undefined : `has no method '${method}'`
}

/** Recognises schemas of the plugin's own copy of zod. */
function isSchema(value: unknown): boolean {
  return typeof value === 'object' && value !== null && typeof Reflect.get(value, 'safeParse') === 'function'
}

function refuseDoubles(providers: readonly AnyProvider[]): void {
  const seen = new Map<string, string>()
  for (const provider of providers) {
    for (const word of new Set([provider.name, ...provider.targetEnvs])) {
      const other = seen.get(word)
      if (other !== undefined) {
        throw usageError(`providers '${other}' and '${provider.name}' both use the name '${word}'`, {
          hint: 'remove one of the plugins; hydra-ops config get plugins lists them',
        })
      }
    }
    for (const word of [provider.name, ...provider.targetEnvs]) seen.set(word, provider.name)
  }
}
