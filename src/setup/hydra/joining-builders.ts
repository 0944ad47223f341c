import type { BuildMachine, HydraOptions } from '../../core/hydra-options.js'
import { type Database, databaseUrl, ownFeatures, storeUri } from './config-text.js'
import type { HydraFacts } from './package-facts.js'
import { type DaemonSettings, gcRoots, hydraHome } from './settings.js'

/**
 * What the queue runner of Hydra since March 2026 and its builders are told. Both end at a setting that they do not
 * know, so only those are written that every version of them has. (Keys, defaults and options: read in Hydra's source
 * from d92a6b69, 2026-03-17, to 14332fbf, 2026-08-21. Neither program could be run.)
 */

type TomlValue = string | number | boolean | readonly string[]

const writtenBy = '# Written by hydra-ops (set-up task "hydra"); changes made here are overwritten.'

/** A string of JSON is one of TOML too. */
function toml(values: Readonly<Record<string, TomlValue>>): string {
  const lines = Object.entries(values).map(([name, value]) => `${name} = ${JSON.stringify(value)}`)
  return `${[writtenBy, ...lines].join('\n')}\n`
}

/** Debian's PostgreSQL takes 100 connections in all; left alone, the queue runner would take up to 128. */
const mostConnections = 32

/**
 * What is built is copied to the cache, signed, by \`nix copy\`, once the build is called finished: a copy that fails
 * is told in the journal alone, and not tried again.
 */
export function queueRunnerSettings(settings: DaemonSettings, database: Database): string {
  const { options } = settings
  return toml({
    hydraDataDir: hydraHome,
    dbUrl: databaseUrl(database, 'hydra-queue-runner'),
    maxDbConnections: mostConnections,
    // Where hydra-update-gc-roots tidies up.
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

/** This machine as a builder: what the options say of localhost, else all that it can do. */
export function ownBuilder(
  { buildMachines, useSubstitutes }: Pick<HydraOptions, 'buildMachines' | 'useSubstitutes'>,
  { systems, cores, kvm }: Pick<HydraFacts, 'systems' | 'cores' | 'kvm'>,
): OwnBuilder {
  const wanted = buildMachines.find(isLocal)
  const features = [...(wanted?.supportedFeatures ?? []), ...(wanted?.mandatoryFeatures ?? [])]
  return {
    maxJobs: wanted?.maxJobs ?? cores,
    speedFactor: wanted?.speedFactor ?? 1,
    // `builtin` is every builder's.
    systems: wanted?.systems ?? systems.filter((system) => system !== 'builtin'),
    supportedFeatures: features.length === 0 ? ownFeatures(kvm) : [...new Set(features)],
    mandatoryFeatures: wanted?.mandatoryFeatures ?? [],
    useSubstitutes,
  }
}

export function builderSettings(builder: OwnBuilder): string {
  return toml({ ...builder })
}

/** The same for a hydra-builder that has no file for it yet. */
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

/** Why a queue runner to which builders come cannot do with these; undefined = it can. */
export function unusableBuilders(machines: readonly BuildMachine[]): string | undefined {
  const others = machines.filter((machine) => !isLocal(machine)).map(({ hostName }) => hostName)
  if (others.length > 0)
    return `deployment.hydra.buildMachines names ${others.join(', ')}, and this Hydra goes to no machine: its builders come to it`
  return machines.length > 1
    ? 'deployment.hydra.buildMachines names localhost more than once, and this Hydra has one builder there'
    : undefined
}

function isLocal({ hostName }: BuildMachine): boolean {
  return hostName === 'localhost'
}

/**
 * An evaluator that reads a file of its own is started with one. Which settings it knows changed from week to week in
 * September 2026 (read in the modules of then), so that none is set.
 */
export const evaluatorSettings = toml({})
