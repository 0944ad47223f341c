import type { NixosSurvey } from './survey.js'
import { bootParts, type SystemFacts } from './system-files.js'

/** Differences between a wanted system and the machine that is to run it. */
export interface SystemDifference {
  /** Reason why a switch must not enter the system, so that only a boot may enter it. */
  readonly onlyByBoot: string | undefined
  /** Reason why the machine needs a reboot after a switch to the system. */
  readonly rebootReason: string | undefined
  /** Sentence that says that the wanted system is older than the running system. */
  readonly older: string | undefined
}

/** Compares a wanted system with the running system and the booted system. */
export function compareSystems(seen: NixosSurvey, wanted: SystemFacts, path: string): SystemDifference {
  const changed = [...wanted.inhibitors].flatMap(([name, value]) => {
    const present = seen.running.inhibitors.get(name)
    return present !== undefined && present !== value ? [name] : []
  })
  const onlyByBoot = otherRelease(seen.running.version, wanted.version) ?? inhibited(changed)
  const stale = bootParts.filter((part) => {
    const booted = seen.bootedParts.get(part)
    const next = wanted.parts.get(part)
    return booted !== undefined && next !== undefined && booted !== next
  })
  return {
    onlyByBoot,
    rebootReason:
      onlyByBoot ??
      (stale.length === 0 ? undefined : `reboot needed: the new system has another ${stale.join(', ')}`),
    older: olderVersion(seen.running.version, wanted.version) ?? olderGeneration(seen, path),
  }
}

function otherRelease(present: string | undefined, next: string | undefined): string | undefined {
  const [from, to] = [releaseOf(present), releaseOf(next)]
  if (from === undefined || to === undefined || from === to) return undefined
  return `reboot needed: only a boot enters a system of another release (${to} instead of ${from})`
}

function inhibited(names: readonly string[]): string | undefined {
  if (names.length === 0) return undefined
  return `reboot needed: only a boot enters the new system, because ${names.join(', ')} changed`
}

function releaseOf(version: string | undefined): string | undefined {
  return /^\d+\.\d+/.exec(version ?? '')?.[0]
}

function olderVersion(present: string | undefined, next: string | undefined): string | undefined {
  const [from, to] = [numbersOf(present), numbersOf(next)]
  if (from === undefined || to === undefined) return undefined
  for (const [at, number] of to.entries()) {
    const other = from[at]
    if (other === undefined || number === other) continue
    // The third number is a date or a count of commits, which cannot be compared with each other.
    if (at === 2 && String(number).length !== String(other).length) return undefined
    return number < other ? `older than the system that runs: ${next} instead of ${present}` : undefined
  }
  return undefined
}

function numbersOf(version: string | undefined): readonly number[] | undefined {
  const found = /^(\d+)\.(\d+)(?:\.(\d+))?(?:\.|$)/.exec(version ?? '')
  return found?.slice(1).flatMap((text) => (text === undefined ? [] : [Number(text)]))
}

function olderGeneration({ generations, current }: NixosSurvey, path: string): string | undefined {
  const numberOf = (system: string | undefined) =>
    generations.findLast((each) => each.path === system)?.number
  const [next, present] = [numberOf(path), numberOf(current)]
  if (next === undefined || present === undefined || next >= present) return undefined
  return `older than the system that runs: generation ${next} of the machine instead of ${present}`
}
