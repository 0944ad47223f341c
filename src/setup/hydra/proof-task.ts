import { requireSuccess } from '../../core/command-result.js'
import { optionsSetBy } from '../../core/config-general.js'
import { failure, messageOf } from '../../core/errors.js'
import { json } from '../../core/http-request.js'
import { pause } from '../../core/pause.js'
import type { Run } from '../../core/run.js'
import type { SetupTask, TaskRun, TaskState } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import type { Build } from '../../hydra/replies.js'
import { placeFiles } from '../../remote/place-files.js'
import { askMachine, fact } from '../../remote/run-script.js'
import { publicFile } from '../../remote/services.js'
import { waitUntil } from '../../remote/wait-until.js'
import { journalSince, machineTime, unreadable } from '../journal.js'
import { staticCachePath } from '../nginx/site-text.js'
import { findClusters } from '../postgresql/cluster.js'
import { hashPart, servedProblem } from '../served-path.js'
import { causeIn, diagnose } from './diagnosis.js'
import { linesFor } from './journal-lines.js'
import { JournalWatch, type WatchPace, witnesses } from './journal-watch.js'
import {
  errorTime,
  evaluationError,
  findBuild,
  folder,
  project,
  proofNames,
  push,
  putJobset,
  putProject,
} from './proof-api.js'
import { databaseValues, oneShotSettings, signs, type WebEntrance, webEntrance } from './settings.js'
import { WebSession } from './web-session.js'
import { untilServed } from './web-start.js'
import { passwordOf, usersOf } from './web-users-task.js'

export interface ProofOptions {
  readonly entrance: WebEntrance
  readonly database: string
  /** User who requests the build; the user needs the role admin. */
  readonly user: string
  readonly password: ReturnType<typeof passwordOf>
  /** Key that must sign the build's narinfo at the URL; `undefined` if no key signs. */
  readonly publicKeyFile: string | undefined
  /** Path of the cache, before HASH.narinfo. */
  readonly cachePath: string
  /** Systems of the builders in the options; empty if the machine is the only builder. */
  readonly systems: readonly string[]
}

/** Time limits for the green build and for its path in the cache, with the pause between checks. */
export interface ProofPace extends WatchPace {
  readonly greenMs: number
  readonly signedMs: number
  readonly pauseMs: number
}

/**
 * Default limits. The measured build took a quarter of a minute, and a busy emulated guest needs many times as long.
 */
const usualPace: ProofPace = {
  greenMs: 900_000,
  signedMs: 120_000,
  pauseMs: 3_000,
  everyMs: 15_000,
  apartMs: 30_000,
}

/** The proof of the whole Hydra: a separate build, from the request to the signed path in the cache. */
export const hydraProofTask: SetupTask<ProofOptions> = {
  id: 'hydra-proof',
  formerly: ['hydra-probe'],
  title: 'a build that proves that Hydra works',
  after: ['hydra', 'nginx', 'admin-user', 'binary-cache', 'nix-serve'],
  stage: 'configure',
  // Hydra's caches serve xz by default, and the signed hash is the hash of the unpacked NAR.
  debianPackages: ({ publicKeyFile }) => (publicKeyFile === undefined ? [] : ['xz-utils']),
  wanted(machine) {
    const settings = oneShotSettings(machine, 'hydra-proof')
    const admin =
      settings === undefined ? undefined : usersOf(settings).find(({ roles }) => roles.includes('admin'))
    if (settings === undefined || !settings.options.probe || admin === undefined) return undefined
    const { options, publicKeyFile } = settings
    // The path leads to the static cache if nginx serves it, or else to Hydra's own view of the store.
    const cachePath = options.cache.enable && options.nginx.enable ? staticCachePath : '/'
    return {
      entrance: webEntrance(settings),
      database: options.database.name,
      user: admin.name,
      password: passwordOf(admin),
      publicKeyFile:
        signs(settings) && !filledByUser(options.extraConfig, cachePath) ? publicKeyFile : undefined,
      cachePath,
      systems: [...new Set(options.buildMachines.flatMap(({ systems }) => systems))],
    }
  },
  owns: () => [{ path: `${folder}/**`, instead: 'another folder' }],
  secrets: ({ password }) => [password],
  probe: lookForProof,
  // The task itself changes nothing; only the proof leaves results behind.
  apply: async (_host, { entrance }) => ({ url: entrance.url }),
  verify: (host, options, run) => proveByBuild(host, options, run, usualPace),
}

/** Says whether the user's own lines of hydra.conf choose the destination of builds or the signing key. */
function filledByUser(extraConfig: string, cachePath: string): boolean {
  const theirs = optionsSetBy(extraConfig)
  return theirs.has('store_uri') || (cachePath === '/' && theirs.has('binary_cache_secret_key_file'))
}

/** Checks for an earlier green build of the proof. */
async function lookForProof(host: Host, { database }: ProofOptions, run: Run): Promise<TaskState> {
  const [cluster] = await findClusters(host, database, run)
  if (cluster === undefined || !cluster.online) return 'needed'
  const values = { ...databaseValues(database, cluster.port), project }
  const question = { what: 'look for the proof', script: 'tasks/hydra-proof/look', values }
  const facts = await askMachine(host, question, run)
  if (fact(facts, 'green') !== 'yes') return 'needed'
  return fact(facts, 'enabled') === 'yes'
    ? { drifted: `project ${project} is on Hydra's start page` }
    : 'done'
}

/** Runs a build and waits until it is green, and signed if there is a key. */
export async function proveByBuild(
  host: Host,
  options: ProofOptions,
  run: TaskRun,
  pace: ProofPace,
): Promise<void> {
  await untilServed(host, options.entrance, run)
  const stamp = new Date().toISOString().replace(/\W/g, '')
  const { system, since } = await placeExpression(host, stamp, options.systems, run)
  const session = new WebSession(options.entrance, run)
  await session.login(host.machine, options.user, await run.secret(options.password.name))
  try {
    await putProject(host, session, options.user, true)
    await putJobset(host, session, stamp, true)
    const before = await errorTime(session)
    await push(host, session)
    run.log(`waiting for the build hydra-ops-probe-${stamp} for ${system}`)
    const path = await greenBuild(host, session, { stamp, before, since, pace }, run)
    await signedInCache(host, session, options, { path, stamp, since, pace }, run)
    run.log(`proof: green${options.publicKeyFile === undefined ? '' : ' and signed'}: ${path}`)
  } finally {
    await putAway(host, session, { stamp, owner: options.user }, run)
  }
}

/** Keeps Hydra from evaluating the proof's jobset again, and from showing its project to users. */
async function putAway(
  host: Host,
  session: WebSession,
  { stamp, owner }: { readonly stamp: string; readonly owner: string },
  run: TaskRun,
): Promise<void> {
  try {
    await putJobset(host, session, stamp, false)
    await putProject(host, session, owner, false)
  } catch (error) {
    run.log(
      `proof: project ${project} stays on Hydra's start page until the next proof, because hiding it failed: ${messageOf(error)}`,
    )
  }
}

/** Chooses the machine's own system, unless the builders in the options build only for other systems. */
export function provenSystem(own: string, systems: readonly string[]): string {
  const [first = own] = systems
  return systems.includes(own) ? own : first
}

/**
 * Writes the expression to a new folder for each proof. Hydra ignores changes in a known folder for half a minute
 * (measured).
 */
async function placeExpression(
  host: Host,
  stamp: string,
  systems: readonly string[],
  run: TaskRun,
): Promise<{ readonly system: string; readonly since: string }> {
  const since = await machineTime(host, run)
  const question = { what: 'prepare the proof', script: 'tasks/hydra-proof/prepare', values: { folder } }
  const facts = await askMachine(host, question, run)
  const system = provenSystem(fact(facts, 'system'), systems)
  const text = `# Written by hydra-ops (set-up task "hydra-proof").
{ }: {
  probe = derivation {
    name = "hydra-ops-probe-${stamp}";
    system = "${system}";
    builder = "/bin/sh";
    args = [ "-c" "echo ${stamp} > $out" ];
  };
}
`
  await placeFiles(host, [publicFile(`${folder}/${stamp}/default.nix`, text)], {
    run,
    what: 'write the proof',
  })
  return { system, since }
}

/** Waits for the green build and returns its output. */
async function greenBuild(
  host: Host,
  session: WebSession,
  {
    stamp,
    before,
    since,
    pace,
  }: {
    readonly stamp: string
    readonly before: number
    readonly since: string
    readonly pace: ProofPace
  },
  run: TaskRun,
): Promise<string> {
  const end = performance.now() + pace.greenMs
  const watch = new JournalWatch(host, { units: witnesses, build: proofNames(stamp) }, since, pace)
  let seen = ''
  for (;;) {
    const build = await findBuild(session, stamp)
    if (build?.finished === 1 && build.buildstatus === 0) return build.buildoutputs.out?.path ?? ''
    const evaluation = build === undefined ? await evaluationError(session, before) : ''
    const state =
      build === undefined ? 'not evaluated yet' : build.finished === 1 ? 'ended' : 'queued or building'
    if (state !== seen) run.log(`proof: ${state}`)
    seen = state
    const hopeless = build?.finished === 1 || evaluation !== ''
    const cause = hopeless ? undefined : await watch.lastingCause(run)
    if (hopeless || cause !== undefined || performance.now() > end)
      throw await notGreen(host, session, { stamp, build, evaluation, state, since, cause }, run)
    await pause(pace.pauseMs, run.signal)
  }
}

async function notGreen(
  host: Host,
  session: WebSession,
  seen: {
    readonly stamp: string
    readonly build: Build | undefined
    readonly evaluation: string
    readonly state: string
    readonly since: string
    readonly cause: string | undefined
  },
  run: TaskRun,
): Promise<Error> {
  const journal = await saidSince(host, seen.since, run)
  const queue = json(await session.request('GET', '/queue-runner-status'))
  const status = seen.build?.buildstatus ?? undefined
  const ofProof = linesFor(journal, proofNames(seen.stamp))
  const why = seen.cause ?? diagnose({ journal: ofProof, queue, evaluation: seen.evaluation, status })
  return failure(
    'PROBE',
    `machine '${host.machine}': the proof build of Hydra is not green (${seen.state}): ${why}`,
    {
      machine: host.machine,
      hint: 'hydra-ops deploy repeats the build; deployment.hydra.probe = false skips the build',
      detail: lastLines(journal),
    },
  )
}

/** Reads the journal of Hydra's services; an unreadable journal does not cause a second error. */
async function saidSince(host: Host, since: string, run: TaskRun): Promise<string> {
  return journalSince(host, witnesses, since, run).catch((error: unknown) => unreadable(error, run))
}

function lastLines(journal: string): string {
  return journal.trim().split('\n').slice(-20).join('\n')
}

/** Requests the path from the cache as a client would, at the same URL. */
async function signedInCache(
  host: Host,
  session: WebSession,
  options: ProofOptions,
  {
    path,
    stamp,
    since,
    pace,
  }: { readonly path: string; readonly stamp: string; readonly since: string; readonly pace: ProofPace },
  run: TaskRun,
): Promise<void> {
  if (options.publicKeyFile === undefined) return
  const what = 'read the public key'
  const read = await host.exec(['cat', '--', options.publicKeyFile], {
    signal: run.signal,
    timeoutMs: 60_000,
    what,
  })
  const publicKey = requireSuccess(read, { machine: host.machine, what }).stdout.trim()
  const served = {
    hash: hashPart(path),
    folder: options.cachePath,
    publicKey,
    get: (file: string) => session.request('GET', file),
  }
  await waitUntil(host.machine, run, {
    what: `the cache at ${options.entrance.url} serves the signed proof`,
    code: 'PROBE',
    deadlineMs: pace.signedMs,
    pauseMs: pace.pauseMs,
    hint:
      options.cachePath === '/'
        ? 'the cache of Hydra itself needs pixz (deployment.aptPackages = [ "pixz" ]); journalctl -u hydra-server shows more'
        : 'journalctl -u hydra-queue-runner on the machine shows more',
    evidence: async () => {
      const journal = await saidSince(host, since, run)
      const cause = causeIn(linesFor(journal, proofNames(stamp)), { ofBuild: false })
      return [...(cause === undefined ? [] : [cause]), lastLines(journal)].join('\n')
    },
    wrong: async () => (await servedProblem(host, served, run))?.text,
  })
}
