import type { Decider, ReportedBuilder } from '../../../core/build-why.js'
import { type Demand, type Mismatch, matchBuilders, matchRemedy } from '../../../core/builder-match.js'
import type { LoginCause } from '../login-failure.js'
import { buildsItself, demandOf, needsNoList } from './demand.js'
import type { Derivation } from './derivation.js'
import {
  addressOf,
  type Entry,
  entriesOf,
  isLocalhost,
  isSameBuilder,
  type ListReader,
  type ListText,
  listFault,
  shownLine,
  uriOf,
} from './lists.js'

/** Facts about a derivation, and about the machine that should have it built. */
export interface WhyFacts {
  readonly derivation: Derivation
  readonly built: boolean
  readonly decider: Decider
  /** User who asks, and whether the daemon trusts that user. */
  readonly user: string
  readonly trusted: boolean
  /** Capabilities of this machine's own Nix. */
  readonly own: {
    readonly systems: readonly string[]
    readonly features: readonly string[]
    readonly maxJobs: number
  }
  readonly hostNames: readonly string[]
  /** Program that reads the lists. */
  readonly reader: ListReader
  readonly lists: readonly ListText[]
  /** Files that the setting names after a blank; an early Nix does not read these files. */
  readonly passedOver: readonly ListText[]
  /** Lists that this user's setting names, but that the daemon does not read. */
  readonly ignored: readonly ListText[]
  /** Slots in use, each by the name of its lock. */
  readonly busy: readonly string[]
  /** Report of a queue runner about each builder, by name. */
  readonly reported: ReadonlyMap<string, ReportedBuilder>
}

/** Result of a build on one builder. */
export type Attempt =
  | {
      readonly entry: Entry
      readonly built: true
      /** Name of the builder that Nix chose instead. */
      readonly elsewhere?: string | undefined
    }
  | {
      readonly entry: Entry
      readonly built: false
      readonly cause: LoginCause
      /** Output of Nix and ssh, in lines. */
      readonly detail?: string | undefined
      /** Another user of the same machine whose build there succeeded. */
      readonly worksAs?: string | undefined
    }

/** Kinds of causes; `free` and `itself` mean that nothing hinders the build. */
export type CauseKind =
  | 'built'
  | 'itself'
  | 'free'
  | 'list'
  | 'unreadable'
  | 'passed-over'
  | 'ignored'
  | 'untrusted'
  | 'itself-by-ssh'
  | Mismatch['gap']
  | 'jobs'
  | 'busy'
  | 'disabled'
  | 'attempt'

/** The one cause that keeps a build from running. */
export interface Cause {
  readonly kind: CauseKind
  readonly cause: string
  readonly remedy?: string | undefined
  /** Output of Nix and ssh about a failed build, in lines. */
  readonly detail?: string | undefined
  /** The line of the builder, with its file and line number. */
  readonly line?: string | undefined
}

/** Returns the cause if the facts alone show it, or else the builders that a real build must try. */
export function causeFrom(facts: WhyFacts): Cause | { readonly takers: readonly Entry[] } {
  const { decider } = facts
  if (facts.built) return { kind: 'built', cause: 'every output is in the store already' }
  const unread = unreadableList(facts)
  if (decider === 'user' && unread !== undefined && !needsNoList(facts)) return unread
  const fault = badLine(facts)
  if (fault !== undefined) return fault
  if (decider !== 'queue runner' && buildsItself(facts))
    return { kind: 'itself', cause: 'this machine builds the derivation itself, without a builder' }
  const entries = builders(facts, facts.lists)
  const demand = demandOf(facts)
  const found = matchBuilders(demand, entries)
  if (!('takers' in found))
    return (
      unread ??
      passedOverFile(facts, demand) ??
      ignoredList(facts) ??
      mismatch(facts, demand, { found, entries })
    )
  return narrowed(facts, found.takers)
}

function builders({ reader, own }: WhyFacts, lists: readonly ListText[]): Entry[] {
  return entriesOf(lists, reader, own.systems[0] ?? '')
}

/**
 * Finds a line that ends the reading of all lists. Nix queries its builders first, so even a local build fails. Only
 * a derivation with `preferLocalBuild` needs no query (seen with Nix 2.8).
 */
function badLine(facts: WhyFacts): Cause | undefined {
  const { decider, lists, reader } = facts
  if (decider !== 'queue runner' && needsNoList(facts)) return undefined
  const fault = listFault(lists, reader)
  if (fault === undefined) return undefined
  const end = decider === 'queue runner' ? 'ignores all builders' : 'builds nothing'
  return {
    kind: 'list',
    cause: `Nix cannot read one line, and therefore ${end}: ${fault.problem}`,
    line: `${fault.at}: ${shownLine(fault.line)}`,
    remedy: 'correct the line; hydra-ops setup run builders --redo rewrites the list of hydra-ops',
  }
}

/** Returns the cause if an early Nix mistakes a file with the wanted builder for a builder's name. */
function passedOverFile(facts: WhyFacts, demand: Demand): Cause | undefined {
  const [list] = facts.passedOver.filter((each) => 'takers' in matchBuilders(demand, builders(facts, [each])))
  if (list === undefined) return undefined
  return {
    kind: 'passed-over',
    cause: `this Nix does not read ${list.place}: the setting builders has a blank before the @`,
    remedy: `write ;@${list.place} in the setting builders, without the blank`,
  }
}

/** Returns the cause if a list that may contain the builder could not be read. */
function unreadableList({ lists, decider, user }: WhyFacts): Cause | undefined {
  const shut = lists.find(({ unreadable }) => unreadable === true)?.place
  if (shut === undefined) return undefined
  const cause = `user '${user}' may not read ${shut}`
  return decider === 'user'
    ? {
        kind: 'unreadable',
        cause: `${cause}, and no build begins without this list`,
        remedy: `let ${user} read ${shut}, or remove the list from the setting builders`,
      }
    : {
        kind: 'unreadable',
        cause: `${cause}, which may name a builder`,
        remedy: 'run the command as root: the Nix daemon reads the list as root',
      }
}

/** Returns the cause if the daemon ignores an untrusted user's list that has a builder for the derivation. */
function ignoredList(facts: WhyFacts): Cause | undefined {
  const { derivation, decider, trusted, user, ignored } = facts
  if (decider !== 'daemon' || trusted) return undefined
  const found = matchBuilders(derivation, builders(facts, ignored))
  const [taker] = 'takers' in found ? found.takers : []
  if (taker === undefined) return undefined
  return {
    kind: 'ignored',
    cause: `the Nix daemon does not trust user '${user}', and ignores the builders of that user`,
    line: placed(taker),
    remedy: `add ${user} to trusted-users in /etc/nix/nix.conf, or move the line to /etc/nix/machines, and restart nix-daemon`,
  }
}

function mismatch(
  { own, decider, lists }: WhyFacts,
  { system }: Demand,
  { found, entries }: { readonly found: Mismatch; readonly entries: readonly Entry[] },
): Cause {
  const nearest = entries.find(({ name }) => found.nearest.includes(name))
  const missing = lists.flatMap(({ place, text }) => (text === undefined ? [place] : []))
  const names =
    missing.length === 0
      ? 'no list names a builder'
      : `no list names a builder (missing: ${missing.join(', ')})`
  const forSystem =
    found.gap === 'builders'
      ? `${names}: set deployment.builder on a machine for ${system}`
      : `set deployment.builder on a machine for ${system}, or let a builder emulate ${system} (deployment.binfmt.emulatedSystems)`
  const stopped =
    decider !== 'queue runner' && own.maxJobs === 0 && own.systems.includes(system)
      ? '; this machine builds nothing itself (max-jobs is 0)'
      : ''
  return {
    kind: found.gap,
    cause: `${found.cause}${stopped}`,
    line: nearest === undefined ? undefined : placed(nearest),
    remedy: matchRemedy(found, forSystem),
  }
}

function placed({ at, line }: Entry): string {
  return `${at}: ${shownLine(line)}`
}

/** Drops builders that cannot take the build. If none remains, the first builder's obstacle is the cause. */
function narrowed(facts: WhyFacts, takers: readonly Entry[]): Cause | { readonly takers: readonly Entry[] } {
  const steps: readonly ((entry: Entry) => Cause | undefined)[] = [
    (entry) => (entry.maxJobs === 0 ? noJobs(entry) : undefined),
    (entry) => ownHostByName(facts, entry),
    (entry) => untrustedRunner(facts, entry),
    (entry) => allBusy(facts, entry),
  ]
  let left = takers
  for (const step of steps) {
    const kept = left.filter((entry) => step(entry) === undefined)
    const [first] = left
    const cause = first === undefined ? undefined : step(first)
    if (kept.length === 0 && cause !== undefined) return cause
    left = kept
  }
  return { takers: left }
}

function noJobs(entry: Entry): Cause {
  return {
    kind: 'jobs',
    cause: `builder ${entry.name} takes no builds: its maxJobs is 0`,
    line: placed(entry),
    remedy:
      'hydra-ops builders resume gives a drained builder its jobs back; raise maxJobs in a list of your own',
  }
}

/** Detects a queue runner that copies to its own store over ssh, and therefore waits for its own lock. */
function ownHostByName({ decider, hostNames }: WhyFacts, entry: Entry): Cause | undefined {
  const { host } = addressOf(entry.name)
  const itself = host === 'localhost' ? !isLocalhost(entry) : hostNames.includes(host)
  if (decider !== 'queue runner' || !itself) return undefined
  return {
    kind: 'itself-by-ssh',
    cause: `${entry.name} is the machine of the queue runner itself, which then waits for its own lock`,
    line: placed(entry),
    remedy: "name the machine 'localhost' in deployment.hydra.buildMachines, without user",
  }
}

function untrustedRunner({ decider, trusted, user }: WhyFacts, entry: Entry): Cause | undefined {
  if (decider !== 'queue runner' || !isLocalhost(entry) || trusted) return undefined
  return {
    kind: 'untrusted',
    cause: `the Nix daemon of the machine does not trust user '${user}'`,
    line: placed(entry),
    remedy: `run hydra-ops setup run nix --redo: ${user} must be listed in trusted-users`,
  }
}

function allBusy({ busy, reported }: WhyFacts, entry: Entry): Cause | undefined {
  const locks = new Set(busy)
  const slots = Array.from(
    { length: entry.maxJobs },
    (_, slot) => `${uriOf(entry.name).replaceAll('/', '_')}-${slot}`,
  )
  const running = reported.get(entry.name)?.currentJobs ?? slots.filter((slot) => locks.has(slot)).length
  if (running < entry.maxJobs) return undefined
  return {
    kind: 'busy',
    cause: `builder ${entry.name} is busy: ${running} of its ${entry.maxJobs} jobs run`,
    line: placed(entry),
    remedy: 'wait, raise deployment.builder.maxJobs, or add a builder',
  }
}

/** Returns the cause that real builds show. One success means that nothing hinders the build. */
export function causeOfAttempts(facts: WhyFacts, attempts: readonly Attempt[]): Cause {
  const { decider, reported } = facts
  const good = attempts.find(({ built }) => built)
  if (good?.built === true && good.elsewhere !== undefined) return builtElsewhere(facts, good.elsewhere)
  if (good !== undefined) {
    const report = reported.get(good.entry.name)
    if (decider === 'queue runner' && report !== undefined && report.disabledFor > 0)
      return {
        kind: 'disabled',
        cause: `the queue runner leaves builder ${good.entry.name} alone for another ${report.disabledFor} s, after ${report.failures} failures; a build there works now`,
        line: placed(good.entry),
        remedy: 'wait, or restart hydra-queue-runner, which then retries at once',
      }
    return free(good.entry.name, good.entry)
  }
  const [bad] = attempts
  if (bad === undefined || bad.built) throw new Error('no builder was tried')
  const { entry, cause, detail, worksAs } = bad
  return {
    kind: 'attempt',
    cause: `${cause.why}${worksAs === undefined ? '' : `, while a build there works as user '${worksAs}'`}`,
    line: placed(entry),
    detail,
    remedy:
      worksAs === undefined || cause.hint !== unknownHint
        ? cause.hint
        : `name the key and the host key in the line: the user who builds has other keys and known hosts than '${worksAs}'`,
  }
}

/** Describes a successful build on a builder that Nix chose itself. */
function builtElsewhere(facts: WhyFacts, name: string): Cause {
  const entries = builders(facts, facts.lists)
  return free(
    name,
    entries.find((entry) => isSameBuilder(entry.name, name)),
  )
}

function free(name: string, entry: Entry | undefined): Cause {
  return {
    kind: 'free',
    cause: `nothing prevents the build: ${name} built for the same system and features`,
    line: entry === undefined ? undefined : placed(entry),
  }
}

/** Remedy for a failure without a known cause. */
export const unknownHint = 'Nix and ssh report no more than the text above'
