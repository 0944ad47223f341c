import { builtinSystem, type Demand, localFeature } from '../../../core/builder-match.js'
import { fieldOf, valuesOf } from '../../../core/builder-offer.js'
import type { WhyFacts } from './causes.js'
import type { Entry } from './lists.js'

type Asked = Pick<WhyFacts, 'derivation' | 'own'>

/**
 * Says whether the Nix of the machine builds the derivation itself. A Nix without jobs does not run builtins either.
 */
export function buildsItself(asked: Asked): boolean {
  return asked.own.maxJobs > 0 && isAble(asked)
}

/** Says whether Nix builds the derivation without querying its builders. */
export function needsNoList(asked: Asked): boolean {
  return asked.derivation.prefersLocal && buildsItself(asked)
}

function isAble({ derivation: { system, features, builtin }, own }: Asked): boolean {
  return (
    (builtin || own.systems.includes(system)) && features.every((feature) => own.features.includes(feature))
  )
}

/**
 * Returns the demand on builders. A queue runner treats a builtin as a build for its own system; a daemon does not.
 */
export function demandOf({ derivation, decider, own }: Asked & Pick<WhyFacts, 'decider'>): Demand {
  const { system, features, prefersLocal, builtin } = derivation
  if (decider !== 'queue runner') return { system, features }
  const jobs = builtin || own.maxJobs > 0
  return {
    system: system === builtinSystem ? (own.systems[0] ?? system) : system,
    features,
    local: prefersLocal && jobs && isAble({ derivation, own }),
  }
}

/** Describes a tiny build that a builder accepts or refuses exactly as it would the derivation. */
export function trialOf(
  entry: Entry,
  { system, features, local }: Demand,
): { readonly line: string; readonly system: string; readonly features: readonly string[] } {
  return {
    // Only Nix itself builds for the system of a builtin, so the tiny build takes a real system.
    system:
      system === builtinSystem ? (entry.systems.find((each) => each !== builtinSystem) ?? system) : system,
    features,
    line: local === true ? withoutLocal(entry.line) : entry.line,
  }
}

/** Removes the mandatory feature `local` from a line; only a queue runner understands this feature. */
function withoutLocal(line: string): string {
  const fields = line.split(/\s+/)
  const mandatory = fields[6]
  if (mandatory === undefined) return line
  return fields.with(6, fieldOf(valuesOf(mandatory).filter((feature) => feature !== localFeature))).join(' ')
}
