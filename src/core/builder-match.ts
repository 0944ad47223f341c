/** A builder's abilities, as a machines file or a queue runner lists them. */
export interface Abilities {
  readonly name: string
  readonly systems: readonly string[]
  readonly supportedFeatures: readonly string[]
  readonly mandatoryFeatures: readonly string[]
}

/** System and features that a build requires. */
export interface Demand {
  readonly system: string
  readonly features: readonly string[]
  /** Whether the build also matches a builder whose mandatory feature is `local`. */
  readonly local?: boolean | undefined
}

/** Feature that a queue runner adds to a build that prefers the local machine. */
export const localFeature = 'local'

/**
 * System of derivations whose builder is part of Nix, such as `builtin:fetchurl`. A queue runner uses its own system
 * instead.
 */
export const builtinSystem = 'builtin'

/** The part of a demand that no builder meets. */
export type Gap = 'builders' | 'system' | 'feature' | 'combination' | 'mandatory'

export interface Mismatch {
  readonly gap: Gap
  readonly cause: string
  /** Names of the builders that come closest to the demand. */
  readonly nearest: readonly string[]
  /** Features that no builder offers. */
  readonly features: readonly string[]
}

/** Returns the builders that accept a build, or the reason why no builder does. */
export function matchBuilders<B extends Abilities>(
  { system, features, local = false }: Demand,
  builders: readonly B[],
): { readonly takers: readonly B[] } | Mismatch {
  const offering = builders.filter(({ systems }) => systems.includes(system))
  if (offering.length === 0)
    return {
      gap: builders.length === 0 ? 'builders' : 'system',
      cause: `no builder offers the system ${system}`,
      nearest: namesOf(builders),
      features: [],
    }
  const able = offering.filter((builder) => lacking(builder, features).length === 0)
  if (able.length === 0) return withoutFeature(system, features, offering)
  const takers = able.filter(({ mandatoryFeatures }) =>
    mandatoryFeatures.every((feature) => features.includes(feature) || (local && feature === localFeature)),
  )
  if (takers.length > 0) return { takers }
  const demands = able.map(({ name, mandatoryFeatures }) => `${name} (${mandatoryFeatures.join(', ')})`)
  return {
    gap: 'mandatory',
    cause: `each builder of ${system} takes only steps with a mandatory feature: ${demands.join('; ')}`,
    nearest: namesOf(able),
    features: [],
  }
}

function namesOf(builders: readonly Abilities[]): string[] {
  return builders.map(({ name }) => name)
}

/** Returns the features that a builder does not offer. */
function lacking({ supportedFeatures, mandatoryFeatures }: Abilities, features: readonly string[]): string[] {
  return features.filter(
    (feature) => !supportedFeatures.includes(feature) && !mandatoryFeatures.includes(feature),
  )
}

function withoutFeature(
  system: string,
  features: readonly string[],
  offering: readonly Abilities[],
): Mismatch {
  const nobody = features.filter((feature) =>
    offering.every((builder) => lacking(builder, [feature]).length > 0),
  )
  const nearest = namesOf(offering)
  if (nobody.length === 0)
    return {
      gap: 'combination',
      cause: `no single builder of ${system} offers all of the features ${features.join(', ')}`,
      nearest,
      features: [],
    }
  const word = nobody.length === 1 ? `the feature ${nobody[0]}` : `the features ${nobody.join(', ')}`
  return { gap: 'feature', cause: `no builder of ${system} offers ${word}`, nearest, features: nobody }
}

const featureRemedies: Readonly<Record<Exclude<Gap, 'builders' | 'system' | 'feature'>, string>> = {
  combination: 'add the features that one builder lacks to its supportedFeatures and to its system-features',
  mandatory: 'take the feature out of mandatoryFeatures of a builder, or add a builder',
}

/** Returns the remedy for a demand that no builder meets; `forSystem` is the remedy for a missing system. */
export function matchRemedy({ gap, features }: Mismatch, forSystem: string): string {
  if (gap === 'builders' || gap === 'system') return forSystem
  return gap === 'feature'
    ? `add ${features.join(', ')} to supportedFeatures of a builder, and to system-features in the nix.conf of that builder`
    : featureRemedies[gap]
}
