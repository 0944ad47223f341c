import type { BuildMachine, HydraOptions } from '../../core/hydra-options.js'
import { type Database, databaseUrl, ownFeatures, storeUri } from './config-text.js'
import type { HydraFacts } from './package-facts.js'
import { type DaemonSettings, gcRoots, hydraHome } from './settings.js'

/**
 * Settings for Hydra's queue runner and its builders since March 2026. The programs exit on an unknown setting, so
 * the files contain only settings that every version supports. (Source of the keys, defaults and options: Hydra's
 * code from d92a6b69, 2026-03-17, to 14332fbf, 2026-08-21. Neither program could be run.)
 */

type TomlValue = string | number | boolean | readonly string[]

const writtenBy = '# Written by hydra-ops (set-up task "hydra"); changes made here are overwritten.'

/** Writes TOML; a JSON string is also a TOML string. */
export function toml(values: Readonly<Record<string, TomlValue>>): string {
  const lines = Object.entries(values).map(([name, value]) => `${name} = ${JSON.stringify(value)}`)
  return `${[writtenBy, ...lines].join('\n')}\n`
}

/** Limit of database connections; Debian's PostgreSQL allows 100, and the queue runner alone would use up to 128. */
const mostConnections = 32

/**
 * Writes the settings of the queue runner. `nix copy` copies each build to the cache, signed, after the build is
 * reported as finished. A failed copy appears only in the journal, and is not repeated.
 */
export function queueRunnerSettings(settings: DaemonSettings, database: Database): string {
  const { options } = settings
  return toml({
    hydraDataDir: hydraHome,
    dbUrl: databaseUrl(database, 'hydra-queue-runner'),
    maxDbConnections: mostConnections,
    // hydra-update-gc-roots cleans up this folder.
    rootsDir: gcRoots,
    useSubstitutes: options.useSubstitutes,
    ...(options.cache.enable ? { remoteStoreAddr: [storeUri(settings)] } : {}),
  })
}

export interface OwnBuilder {
  readonly maxJobs: number
  readonly speedFactor: number
  readonly systems: readonly string[]
  readonly supportedFeatures: readonly string[]
  readonly mandatoryFeatures: readonly string[]
  readonly useSubstitutes: boolean
}

/** Describes this machine as a builder: with the options for localhost, or else with all its capabilities. */
export function ownBuilder(
  { buildMachines, useSubstitutes }: Pick<HydraOptions, 'buildMachines' | 'useSubstitutes'>,
  { systems, cores, kvm }: Pick<HydraFacts, 'systems' | 'cores' | 'kvm'>,
): OwnBuilder {
  const wanted = buildMachines.find(isLocal)
  const features = [...(wanted?.supportedFeatures ?? []), ...(wanted?.mandatoryFeatures ?? [])]
  return {
    maxJobs: wanted?.maxJobs ?? cores,
    speedFactor: wanted?.speedFactor ?? 1,
    // Every builder supports `builtin` anyway.
    systems: wanted?.systems ?? systems.filter((system) => system !== 'builtin'),
    supportedFeatures: features.length === 0 ? ownFeatures(kvm) : [...new Set(features)],
    mandatoryFeatures: wanted?.mandatoryFeatures ?? [],
    useSubstitutes,
  }
}

export function builderSettings(builder: OwnBuilder): string {
  return toml({ ...builder })
}

/** Lists the same settings as options, for a hydra-builder without a settings file. */
export function builderOptions(builder: OwnBuilder): string[] {
  const flag = (name: string, values: readonly (string | number)[]) =>
    values.flatMap((value) => [`--${name}`, String(value)])
  return [
    ...flag('max-jobs', [builder.maxJobs]),
    ...flag('speed-factor', [builder.speedFactor]),
    ...flag('systems', builder.systems),
    ...flag('supported-features', builder.supportedFeatures),
    ...flag('mandatory-features', builder.mandatoryFeatures),
    ...(builder.useSubstitutes ? ['--use-substitutes'] : []),
  ]
}

/** Explains why a queue runner in Rust cannot use the given builders; returns `undefined` if it can. */
export function unusableBuilders(machines: readonly BuildMachine[]): string | undefined {
  const others = machines.filter((machine) => !isLocal(machine)).map(({ hostName }) => hostName)
  if (others.length > 0)
    return `deployment.hydra.buildMachines names ${others.join(', ')}, but this Hydra connects to no builder; its builders connect to Hydra`
  return machines.length > 1
    ? 'deployment.hydra.buildMachines names localhost more than once, but this Hydra has only one builder there'
    : undefined
}

function isLocal({ hostName }: BuildMachine): boolean {
  return hostName === 'localhost'
}

/**
 * Content of the settings file of an evaluator in Rust. The file sets nothing, because the settings changed from week
 * to week in September 2026 (read in the modules).
 */
export const evaluatorSettings = toml({})
