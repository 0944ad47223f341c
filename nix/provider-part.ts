import type { AnyProvider } from '../src/core/bind-provider.js'
import { ClosureOptions } from '../src/core/closure-options.js'
import { DebianOptions } from '../src/core/debian-options.js'
import type { Json } from '../src/core/json.js'
import { optionName } from '../src/core/option-name.js'
import type { ReservedPlace } from '../src/core/owned-places.js'
import { suggest } from '../src/core/suggest.js'
import { check, type Issue, knownKeys } from './definition-errors.js'
import { insteadOfPeerOption } from './peer-options.js'
import type { TaskBinder } from './reserved-places.js'

/** The part of a provider that reads its options. */
export type KnownProvider = Pick<
  AnyProvider,
  'name' | 'targetEnvs' | 'optionKey' | 'configSchema' | 'ownedPlaces'
> &
  Partial<Pick<AnyProvider, 'optionsNix'>>

export interface DefinitionRules {
  readonly providers: readonly KnownProvider[]
  readonly tasks: readonly TaskBinder[]
  /** Name of the deployment, for the set-up tasks. */
  readonly deployment: string
  readonly cwd: string
}

/** The provider that a definition names, with its own options and their problems. */
export interface ProviderPart {
  readonly name: string
  readonly options: Json
  readonly issues: readonly Issue[]
  readonly places: readonly ReservedPlace[]
}

type Options = Readonly<Record<string, Json>>

/** Reads `deployment.targetEnv` and the options of the provider that it names. */
export function providerPart(options: Options, rules: DefinitionRules): ProviderPart {
  const targetEnv = options.targetEnv ?? 'none'
  const provider = rules.providers.find((each) => each.targetEnvs.includes(String(targetEnv)))
  if (provider === undefined) {
    const issues = typeof targetEnv === 'string' ? [unknownProvider(targetEnv, rules)] : []
    return { name: '', options: {}, issues, places: [] }
  }
  const issues = providerIssues(provider, options)
  return {
    name: provider.name,
    options: ownOptions(provider, options),
    issues,
    places: issues.length > 0 ? [] : placesOf(provider, options),
  }
}

/** Returns the options that belong to no provider. */
export function commonPart(options: Options, rules: DefinitionRules): Record<string, Json> {
  const optionKeys = rules.providers.flatMap(({ optionKey }) => optionKey ?? [])
  const apart = ['os', ...optionKeys]
  return Object.fromEntries(Object.entries(options).filter(([key]) => !apart.includes(key)))
}

function placesOf(provider: KnownProvider, options: Readonly<Record<string, Json>>): ReservedPlace[] {
  const owner = `provider ${provider.name}`
  return (provider.ownedPlaces?.(ownOptions(provider, options)) ?? []).map((place) => ({ ...place, owner }))
}

function ownOptions(provider: KnownProvider, options: Readonly<Record<string, Json>>): Json {
  return provider.optionKey === undefined ? {} : (options[provider.optionKey] ?? {})
}

function providerIssues(provider: KnownProvider, options: Readonly<Record<string, Json>>): readonly Issue[] {
  const base = provider.optionKey === undefined ? ['deployment'] : ['deployment', provider.optionKey]
  const result = check(provider.configSchema, ownOptions(provider, options), base)
  return 'issues' in result ? result.issues : []
}

function unknownProvider(targetEnv: string, rules: DefinitionRules): Issue {
  const path = ['deployment', 'targetEnv']
  const known = rules.providers.flatMap((each) => each.targetEnvs)
  const near = suggest(targetEnv, known)
  const meant =
    near === undefined ? `the supported values are ${known.join(', ')}` : `did you mean '${near}'?`
  return { path, say: `unknown provider ${JSON.stringify(targetEnv)}; ${meant}` }
}

/** Suggests, for example, `deployment.libvirtd.memorySize` instead of `deployment.memorySize`. */
export function betterSuggestion(issue: Issue, rules: DefinitionRules): Issue {
  const [, name, ...deeper] = issue.path
  if (!issue.say.startsWith('unknown option') || deeper.length > 0) return issue
  if (insteadOfPeerOption(optionName(issue.path)) !== undefined) return issue
  const elsewhere = rules.providers.flatMap(({ optionKey, configSchema }) =>
    optionKey === undefined
      ? []
      : knownKeys(configSchema, []).map((key) => ({ key, full: `${optionKey}.${key}` })),
  )
  const common = [
    'os',
    ...Object.keys(DebianOptions.shape),
    ...Object.keys(ClosureOptions.shape),
    ...rules.providers.flatMap((each) => each.optionKey ?? []),
  ]
  const near = suggest(String(name), [...common, ...elsewhere.map(({ key }) => key)])
  if (near === undefined) return { ...issue, say: 'unknown option' }
  const full = common.includes(near) ? near : elsewhere.find(({ key }) => key === near)?.full
  return { ...issue, say: `unknown option; did you mean '${full}'?` }
}
