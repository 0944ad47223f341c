import { failure } from '../../core/errors.js'
import { ownedService } from '../../core/owned-places.js'
import type { Run } from '../../core/run.js'
import { settleAll } from '../../core/settle.js'
import type { SetupTask, TaskRun, TaskState } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { type PlacedFile, placeFiles } from '../../remote/place-files.js'
import { runScript } from '../../remote/run-script.js'
import {
  convergeServices,
  lookAtServices,
  publicFile,
  type ServiceSet,
  unitPath,
  unsteadyUnits,
} from '../../remote/services.js'
import { portPackages, refuseTakenPort } from '../../remote/taken-port.js'
import { waitUntil } from '../../remote/wait-until.js'
import { machineTime, newestLines } from '../journal.js'
import { clusterUnit, requireCluster } from '../postgresql/cluster.js'
import { type Database, hydraConfig, hydraEnvironment, machinesFile, shellProfile } from './config-text.js'
import { healthProblems, type Installed, unitsWithoutNixAccess, webProblem } from './health.js'
import {
  builderSettings,
  evaluatorSettings,
  ownBuilder,
  queueRunnerSettings,
  unusableBuilders,
} from './joining-builders.js'
import { JournalWatch, type WatchPace } from './journal-watch.js'
import { liveLogsSettings } from './live-logs.js'
import {
  type ExaminedHydra,
  type HydraFacts,
  hydraFacts,
  packageRecord,
  packageRecordFile,
} from './package-facts.js'
import { hydraPorts } from './ports.js'
import {
  builderFile,
  type DaemonSettings,
  daemonSettings,
  evaluatorFile,
  hasLiveLogs,
  hydraConfigFile,
  hydraHome,
  hydraMachinesFile,
  liveLogsFile,
  nixSocketGroup,
  noPackage,
  queueRunnerFile,
  spaceFile,
} from './settings.js'
import { allHydraUnits, hydraUnits, initUnit, spaceScript } from './units.js'
import { firstAnswerHint, firstAnswerMs } from './web-start.js'

const workMs = 300_000
const requestMs = 60_000
/**
 * Default pace. A service restarts 5 s after its end, and Perl needs half a minute on an emulated guest (measured).
 */
const usualPace: VerifyPace = { pauseMs: 2_000, everyMs: 15_000, apartMs: 60_000 }
const shellFile = '/etc/profile.d/hydra.sh'

export interface VerifyPace extends WatchPace {
  readonly pauseMs: number
}

export const hydraTask: SetupTask<DaemonSettings> = {
  id: 'hydra',
  title: 'Hydra and its services',
  after: ['nix', 'hydra-accounts', 'postgresql', 'cache-key', 'binary-cache'],
  stage: 'configure',
  debianPackages: () => portPackages,
  wanted: daemonSettings,
  owns: () => [
    { path: hydraConfigFile, instead: 'deployment.hydra.extraConfig' },
    { path: `${hydraHome}/hydra.conf`, instead: 'deployment.hydra.extraConfig' },
    { path: hydraMachinesFile, instead: 'deployment.hydra.buildMachines' },
    ...[queueRunnerFile, builderFile, evaluatorFile, liveLogsFile, spaceFile].map((path) => ({
      path,
      instead: 'the options of deployment.hydra',
    })),
    { path: packageRecordFile, instead: 'a file with another name in the same folder' },
    { path: shellFile, instead: 'a file with another name in the same folder' },
    ...allHydraUnits.flatMap(ownedService),
  ],
  probe: probeHydra,
  apply: applyHydra,
  verify: (host, settings, run) => verifyHydra(host, settings, run, usualPace),
}

async function probeHydra(host: Host, settings: DaemonSettings, run: Run): Promise<TaskState> {
  const { package: path } = settings.options
  // The apply step, not the probe, reports a missing package.
  if (path == null) return 'needed'
  // The queries run together, because each separate query costs a round trip.
  const [there, wanted] = await Promise.allSettled([isThere(host, path, run), wantedSet(host, settings, run)])
  if (!answerOf(there)) return 'needed'
  const [services, more] = await Promise.allSettled([
    lookAtServices(host, answerOf(wanted).set, run),
    whatIsWrong(host, settings, answerOf(wanted), run),
  ])
  const { absent, wrong } = answerOf(services)
  if (absent) return 'needed'
  const all = [...wrong, ...answerOf(more)]
  return all.length === 0 ? 'done' : { drifted: all.join('; ') }
}

/** Returns a query's result, or throws its error now that the result matters. */
function answerOf<T>(settled: PromiseSettledResult<T>): T {
  if (settled.status === 'rejected') throw settled.reason
  return settled.value
}

async function isThere(host: Host, path: string, run: Run): Promise<boolean> {
  const what = 'look for the package of Hydra'
  const result = await host.exec(['test', '-d', path], { signal: run.signal, timeoutMs: requestMs, what })
  return result.kind === 'exited' && result.code === 0
}

interface Wanted extends Installed {
  readonly facts: ExaminedHydra
  readonly set: ServiceSet
}

/** Assembles all files and units of Hydra for this machine and this package. `anew` examines the package again. */
async function wantedSet(host: Host, settings: DaemonSettings, run: Run, anew = false): Promise<Wanted> {
  const { options } = settings
  if (options.package == null) throw noPackage(host, 'Hydra', 'package')
  const [facts, cluster] = await settleAll([
    hydraFacts(host, options.package, run, { anew }),
    requireCluster(host, options.database.name, run),
  ])
  const unusable = facts.runner === 'takes-builders' ? unusableBuilders(options.buildMachines) : undefined
  if (unusable !== undefined) throw noSuchBuilders(host, unusable)
  const database = { name: options.database.name, port: cluster.port }
  const units = hydraUnits({
    settings,
    package: options.package,
    facts,
    database,
    postgresql: clusterUnit(cluster),
  })
  const space = spaceScript(settings)
  const files = [
    publicFile(hydraConfigFile, hydraConfig(settings, facts)),
    ...generationFiles(settings, facts, database),
    ...(hasLiveLogs(settings, facts.programs) ? [publicFile(liveLogsFile, liveLogsSettings(database))] : []),
    publicFile(shellFile, shellProfile(database, facts)),
    ...(space === undefined ? [] : [publicFile(spaceFile, space)]),
    ...units.map(({ name, text }) => publicFile(unitPath(name), text)),
  ]
  const names = new Set(units.map(({ name }) => name))
  const set: ServiceSet = {
    owner: 'hydra',
    files,
    units: units
      .filter(({ runs }) => runs)
      .map(({ name, reads }) => ({ name, reads: [unitPath(name), ...reads] })),
    obsolete: allHydraUnits.filter((name) => !names.has(name)),
    // The unit must run again: the database may be new, or restored from an older Hydra.
    again: [initUnit],
  }
  return { set, facts, environment: hydraEnvironment(database, facts), databasePort: cluster.port }
}

/** Finds problems other than wrong files and units. */
async function whatIsWrong(
  host: Host,
  settings: DaemonSettings,
  wanted: Wanted,
  run: Run,
): Promise<string[]> {
  const [shutOut, problems] = await settleAll([
    unitsWithoutNixAccess(host, unitNames(wanted), run),
    healthProblems(host, settings, wanted, run),
  ])
  const unheard = shutOut.map((unit) => `${unit} started before its user joined the group ${nixSocketGroup}`)
  return [...unheard, ...problems]
}

function unitNames({ set }: Wanted): string[] {
  return set.units.map(({ name }) => name)
}

function noSuchBuilders(host: Host, why: string): Error {
  return failure('BUILD_MACHINES', `machine '${host.machine}': ${why}`, {
    machine: host.machine,
    hint: 'list only localhost, once, or leave the list empty; other builders need an older Hydra',
  })
}

/** Lists the files that only some generations of Hydra read. */
function generationFiles(settings: DaemonSettings, facts: HydraFacts, database: Database): PlacedFile[] {
  const { options } = settings
  const builders =
    facts.runner === 'goes-to-builders'
      ? [publicFile(hydraMachinesFile, machinesFile(options.buildMachines, facts))]
      : [
          publicFile(queueRunnerFile, queueRunnerSettings(settings, database)),
          ...(facts.builderSettings === 'file'
            ? [publicFile(builderFile, builderSettings(ownBuilder(options, facts)))]
            : []),
        ]
  return facts.evaluatorSettings === 'file'
    ? [...builders, publicFile(evaluatorFile, evaluatorSettings)]
    : builders
}

async function applyHydra(
  host: Host,
  settings: DaemonSettings,
  run: TaskRun,
): Promise<Record<string, string>> {
  const { options } = settings
  const wanted = await wantedSet(host, settings, run, true)
  for (const port of hydraPorts(settings, wanted.facts)) await refuseTakenPort(host, port, run)
  const values = { home: hydraHome, config: hydraConfigFile }
  const link = { what: 'link the configuration of Hydra', script: 'tasks/hydra/link', values }
  await runScript(host, link, run)
  const again = [...(wanted.set.again ?? []), ...(await unitsWithoutNixAccess(host, unitNames(wanted), run))]
  await convergeServices(host, { ...wanted.set, again }, run)
  const record = packageRecord(options.package ?? '', wanted.facts)
  await placeFiles(host, record === undefined ? [] : [record], { run, what: 'record the facts of Hydra' })
  return { url: settings.url, package: options.package ?? '' }
}

/** Waits until Hydra answers and all its services work; fails early if the journal repeats the same error. */
export async function verifyHydra(
  host: Host,
  settings: DaemonSettings,
  run: TaskRun,
  pace: VerifyPace,
): Promise<void> {
  await waitForWeb(host, settings, run, pace)
  const wanted = await wantedSet(host, settings, run)
  const units = unitNames(wanted)
  const since = await machineTime(host, run)
  const serviceJournal = new JournalWatch(host, { units }, since, pace)
  await waitUntil(host.machine, run, {
    what: "all of Hydra's services work",
    deadlineMs: workMs,
    hint: 'journalctl -u "hydra-*" on the machine shows more',
    pauseMs: pace.pauseMs,
    evidence: () => newestLines(host, units, since, run),
    hopeless: () => serviceJournal.lastingCause(run),
    wrong: async () => {
      const problems = [
        ...(await unsteadyUnits(host, units, run)),
        ...(await whatIsWrong(host, settings, wanted, run)),
      ]
      if (problems.length === 0) return undefined
      const cause = serviceJournal.lastCause
      return [...problems, ...(cause === undefined ? [] : [cause])].join('; ')
    },
  })
}

/** Waits until Hydra's web server answers; the server listens only after all of Hydra is loaded. */
export async function waitForWeb(
  host: Host,
  settings: DaemonSettings,
  run: TaskRun,
  pace: VerifyPace,
): Promise<void> {
  const { port } = settings.options
  const first = [initUnit, 'hydra-server.service']
  const since = await machineTime(host, run)
  const serverJournal = new JournalWatch(host, { units: first }, since, pace)
  await waitUntil(host.machine, run, {
    what: `Hydra's web server answers on port ${port}`,
    deadlineMs: firstAnswerMs,
    hint: firstAnswerHint,
    pauseMs: pace.pauseMs,
    evidence: () => newestLines(host, first, since, run),
    wrong: () => webProblem(settings, run),
    hopeless: () => serverJournal.lastingCause(run),
  })
}
