import { builtinSystem, type Demand, localFeature } from '../../../core/builder-match.js'
import { fieldOf, valuesOf } from '../../../core/builder-offer.js'
import type { WhyFacts } from './causes.js'
import type { Entry } from './lists.js'

type Asked = Pick<WhyFacts, 'derivation' | 'own'>

/** Says whether the Nix of the machine builds the derivation itself. A Nix without jobs runs no builtin either. */
export function buildsItself(asked: Asked): boolean {
  return asked.own.maxJobs > 0 && isAble(asked)
}

/** Says whether Nix builds the derivation without a question to its builders. */
export function needsNoList(asked: Asked): boolean {
  return asked.derivation.prefersLocal && buildsItself(asked)
}

function isAble({ derivation: { system, features, builtin }, own }: Asked): boolean {
  return (
    (builtin || own.systems.includes(system)) && features.every((feature) => own.features.includes(feature))
  )
}

/** Returns the demand on builders. A queue runner takes a builtin for its own system, and a daemon does not. */
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

/** Describes a tiny build that a builder takes as it would take the derivation. */
export function trialOf(
  entry: Entry,
  { system, features, local }: Demand,
): { readonly line: string; readonly system: string; readonly features: readonly string[] } {
  return {
    // No program but Nix itself runs for the system of a builtin.
    system:
      system === builtinSystem ? (entry.systems.find((each) => each !== builtinSystem) ?? system) : system,
    features,
    line: local === true ? withoutLocal(entry.line) : entry.line,
  }
}

/** Takes the mandatory feature `local` out of a line: only a queue runner understands this word. */
function withoutLocal(line: string): string {
  const fields = line.split(/\s+/)
  const mandatory = fields[6]
  if (mandatory === undefined) return line
  return fields.with(6, fieldOf(valuesOf(mandatory).filter((feature) => feature !== localFeature))).join(' ')
}
