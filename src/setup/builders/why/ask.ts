import { randomBytes } from 'node:crypto'
import type { WhyPlace } from '../../../core/build-why.js'
import type { Demand } from '../../../core/builder-match.js'
import { drainFolder } from '../../../core/builder-offer.js'
import { failure, OpsError, usageError } from '../../../core/errors.js'
import type { BuildWhy } from '../../../core/reports.js'
import type { Run } from '../../../core/run.js'
import { askMachine, type Facts, fact, type RemoteScript } from '../../../remote/run-script.js'
import { hydraMachinesFile, hydraUsers, queueRunnerFile } from '../../hydra/settings.js'
import { type LoginCause, loginCause } from '../login-failure.js'
import { buildCause } from '../proof.js'
import { listFiles } from '../relations.js'
import { type Attempt, type Cause, causeFrom, causeOfAttempts, unknownHint, type WhyFacts } from './causes.js'
import { demandOf, trialOf } from './demand.js'
import { readDerivation } from './derivation.js'
import {
  addressOf,
  type Entry,
  filesIn,
  isLocalhost,
  isSameBuilder,
  type ListText,
  nixReader,
} from './lists.js'

/** A way to try a build: by a daemon, or by the Nix of a user. */
export interface Way {
  readonly through: 'daemon' | 'own'
  /** User who runs Nix; empty means the login user. */
  readonly runAs: string
  /** Name of the user who runs Nix, for messages. */
  readonly user: string
  readonly asLoginUser?: boolean
}

/** Returns the way in which real builds run, and the ways of other users for comparison. */
function waysOf({ decider, user, root }: WhyPlace): readonly [Way, ...Way[]] {
  const direct: Way = { through: 'own', runAs: '', user }
  // A queue runner logs in to builders by itself.
  if (decider === 'queue runner')
    return [
      { through: 'own', runAs: hydraUsers.queueRunner, user: hydraUsers.queueRunner },
      { through: 'own', runAs: 'root', user: 'root' },
    ]
  if (decider === 'user') return [direct]
  const daemon: Way = { through: 'daemon', runAs: '', user: 'root' }
  if (!root) return [daemon, direct]
  return user === 'root' ? [daemon] : [daemon, { ...direct, asLoginUser: true }]
}

const lookMs = 120_000
/** Deadline for one tiny build, with its login and two copies. */
const buildMs = 300_000

/** Finds the one cause that keeps a derivation from being built. */
export async function whyNotBuilt(place: WhyPlace, path: string, run: Run): Promise<BuildWhy> {
  const facts = await factsOf(place, path, run)
  const { system, features } = facts.derivation
  const about = { where: place.where, derivation: path, system, features }
  const first = causeFrom(facts)
  if (!('takers' in first)) return { ...about, ...report(first), also: [] }
  const demand = demandOf(facts)
  const attempts: Attempt[] = []
  for (const entry of first.takers) {
    const attempt = await tryBuild(place, entry, demand, run)
    attempts.push(attempt)
    if (attempt.built) break
  }
  const also = attempts.flatMap((attempt) => {
    const { name } = attempt.entry
    if (!attempt.built) return [`builder ${name}: ${attempt.cause.why}`]
    if (attempt.elsewhere !== undefined)
      return [`builder ${name}: not tried, because Nix built on ${attempt.elsewhere}`]
    return place.decider === 'queue runner' && isLocalhost(attempt.entry) && name !== 'localhost'
      ? [`builder ${name}: ${waitsInEarlierHydra}`]
      : []
  })
  const cause = causeOfAttempts(facts, attempts)
  return { ...about, ...report(cause), also: cause.kind === 'attempt' ? also.slice(1) : also }
}

const waitsInEarlierHydra =
  "a Hydra before September 2022 waits there for its own lock; name the builder 'localhost'"

function report(cause: Cause): Pick<BuildWhy, 'kind' | 'hindered' | 'cause' | 'line' | 'detail' | 'remedy'> {
  return { ...cause, hindered: !['built', 'itself', 'free'].includes(cause.kind) }
}

async function factsOf(place: WhyPlace, path: string, run: Run): Promise<WhyFacts> {
  const { decider, where } = place
  const runs = decider === 'queue runner'
  const question = {
    what: 'look at the derivation and the lists of builders',
    script: 'tasks/builders/why',
    timeoutMs: lookMs,
    values: {
      derivation: path,
      file: place.file,
      store: place.store,
      runs: runs ? 'yes' : 'no',
      asks: runs ? hydraUsers.queueRunner : '',
      lists: runs ? [hydraMachinesFile, listFiles['queue runner']] : [],
      drained: drainFolder,
      gateway: queueRunnerFile,
    },
  }
  const said = await askAt(place, question, run)
  if (fact(said, 'nix') === 'none') throw noNix(where)
  const coded = fact(said, 'derivation')
  if (coded === '') throw noDerivation(where, path)
  const derivation = readDerivation(path, decoded(coded))
  if (derivation === undefined) throw usageError(`${path} on ${where} is not a Nix derivation`)
  if (runs && fact(said, 'gateway') === 'yes') throw takesBuilders(where)
  return { ...factsIn(said, place), derivation }
}

/** Queries the machine. An error names the place as all other messages do. */
async function askAt({ shell, where }: WhyPlace, question: RemoteScript, run: Run): Promise<Facts> {
  try {
    return await askMachine(shell, question, run)
  } catch (error) {
    const subject = `machine '${shell.machine}'`
    if (!(error instanceof OpsError) || !error.message.startsWith(subject)) throw error
    const { code, detail, hint } = error
    throw failure(code, `${where}${error.message.slice(subject.length)}`, {
      cause: error,
      ...(hint === undefined ? {} : { hint }),
      ...(detail === undefined ? {} : { detail }),
    })
  }
}

function noNix(where: string): Error {
  return failure('NO_NIX', `${where} has no Nix`, {
    hint: 'install Nix with hydra-ops setup run nix, or ask another machine with --machine NAME',
  })
}

function noDerivation(where: string, path: string): Error {
  return failure('NO_DERIVATION', `${where} has no derivation ${path}`, {
    hint: "give the path of a .drv file: 'Derivation store path' on Hydra's page of a build, or the output of nix-instantiate",
  })
}

function takesBuilders(where: string): Error {
  return failure(
    'BUILD_MACHINES',
    `the Hydra of ${where} connects to no builder; its builders connect to Hydra`,
    {
      hint: 'hydra-ops hydra status shows its queue and its builders',
    },
  )
}

function factsIn(said: Facts, { decider, reported }: WhyPlace): Omit<WhyFacts, 'derivation'> {
  const user = fact(said, 'user')
  const trustedUsers = wordsOf(fact(said, 'trusted-users'))
  const names = [user, '*', ...(said.get('group') ?? []).map((group) => `@${group}`)]
  // Trust is assumed if Nix does not show its settings.
  const trusted = trustedUsers.length === 0 || names.some((name) => trustedUsers.includes(name))
  const files = new Map(
    (said.get('file') ?? []).map((line): [string, ListText] => {
      const at = line.indexOf(' ')
      const [coded, place] = [line.slice(0, at), line.slice(at + 1)]
      const text = ['-', '!'].includes(coded) ? undefined : decoded(coded)
      return [place, { place, text, unreadable: coded === '!' }]
    }),
  )
  const runs = decider === 'queue runner'
  const reader = runs ? 'queue runner' : nixReader(fact(said, 'version'))
  const text = (path: string): ListText => files.get(path) ?? { place: path, text: undefined }
  const listsIn = (setting: string): ListText[] => [
    { place: 'the setting builders', text: setting },
    ...filesIn(setting, reader).read.map(text),
  ]
  const setting = fact(said, decider === 'user' || trusted ? 'user-builders' : 'builders')
  return {
    built: fact(said, 'built') === 'yes',
    decider,
    user,
    trusted,
    own: {
      systems: [fact(said, 'system'), ...wordsOf(fact(said, 'extra-platforms'))],
      features: wordsOf(fact(said, 'system-features')),
      maxJobs: jobsOf(fact(said, 'max-jobs')),
    },
    hostNames: said.get('host') ?? [],
    reader,
    lists: runs ? [...files.values()] : listsIn(setting),
    passedOver: runs ? [] : filesIn(setting, reader).passedOver.map(text),
    ignored: listsIn(fact(said, 'user-builders')),
    busy: said.get('busy') ?? [],
    reported,
  }
}

function wordsOf(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '')
}

/** Reads `max-jobs`; `auto` means at least one job, which suffices here. */
function jobsOf(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : 1
}

function decoded(coded: string): string {
  return Buffer.from(coded, 'base64').toString()
}

/** Runs a tiny build with the same demands on one builder. Compares with other users if the login fails. */
async function tryBuild(place: WhyPlace, entry: Entry, demand: Demand, run: Run): Promise<Attempt> {
  const [way, ...others] = waysOf(place)
  const end = await endOf(place, way, { entry, demand }, run)
  if ('on' in end)
    return isOn(end, entry) ? { entry, built: true } : { entry, built: true, elsewhere: end.on }
  const { cause, ofLogin } = causeOf(end, { ours: place.ours, way }, entry)
  const failed = { entry, built: false, cause, detail: end.said === '' ? undefined : end.said } as const
  if (!ofLogin) return failed
  for (const other of others) {
    const compared = await endOf(place, other, { entry, demand }, run)
    if ('on' in compared && isOn(compared, entry)) return { ...failed, worksAs: other.user }
  }
  return failed
}

/** Says whether a build ran on the builder in question. */
function isOn({ on }: { readonly on: string }, { name }: Entry): boolean {
  return isSameBuilder(on, name) || (on === 'localhost' && isLocalhost({ name }))
}

interface Trial {
  readonly entry: Entry
  readonly demand: Demand
}

/** End of a build: the builder that Nix names, or the whole output of Nix and ssh. */
type End = { readonly on: string } | { readonly said: string; readonly frozen: boolean }

/** Runs the build in one way. A daemon that does not trust the user may choose a different builder. */
async function endOf(
  { shell, decider }: WhyPlace,
  way: Way,
  { entry, demand }: Trial,
  run: Run,
): Promise<End> {
  const { line, system, features } = trialOf(entry, demand)
  const question = {
    what: `build for ${system} on builder ${entry.name}`,
    script: 'tasks/builders/prove',
    timeoutMs: buildMs,
    values: {
      run_as: way.runAs,
      through: decider === 'queue runner' && isLocalhost(entry) ? 'itself' : way.through,
      list: '',
      name: '',
      line,
      ssh_config: '',
      system,
      features: [...features],
      stamp: randomBytes(8).toString('hex'),
    },
    ...(way.asLoginUser === undefined ? {} : { asLoginUser: way.asLoginUser }),
  }
  run.log(`building on ${entry.name} as user '${way.user}'`)
  try {
    return { on: fact(await askMachine(shell, question, run), 'on') }
  } catch (error) {
    if (!(error instanceof OpsError) || !['REMOTE_COMMAND', 'DEADLINE'].includes(error.code)) throw error
    return { said: error.detail ?? '', frozen: error.code === 'DEADLINE' }
  }
}

function causeOf(
  { said, frozen }: Exclude<End, { readonly on: string }>,
  { ours, way }: Pick<WhyPlace, 'ours'> & { readonly way: Way },
  entry: Entry,
): { readonly cause: LoginCause; readonly ofLogin: boolean } {
  const { user = way.user, host } = addressOf(entry.name)
  const known = ours.find((each) => each.host === host && each.user === user)
  const builder = known ?? { machine: host, user, host, port: 22 }
  // ssh names the key that it tried; a line without a key leaves the choice to ssh.
  const tried = /(?:Load key "|Identity file )([^"\s]+)/.exec(said)?.[1] ?? ''
  const key = { file: entry.key ?? tried, user: way.user }
  const login = loginCause(said, { builder, key })
  const found =
    login ?? buildCause(said, builder) ?? (frozen ? frozenBuilder(entry) : unexplained(said, entry))
  const hint = known === undefined ? (found.byHand ?? found.hint) : found.hint
  return { cause: { why: found.why, hint }, ofLogin: login !== undefined || found.hint === unknownHint }
}

function frozenBuilder({ name }: Entry): LoginCause {
  return {
    why: `builder ${name} accepted a tiny build, but did not finish it within ${buildMs / 60_000} minutes`,
    hint: 'the builder is frozen or overloaded: look at its load and its disk, or restart it',
  }
}

function unexplained(said: string, { name }: Entry): LoginCause {
  const last = said.trim().split('\n').at(-1) ?? ''
  return { why: `a build on ${name} fails: ${last}`, hint: unknownHint }
}
