import type { Database } from './config-text.js'
import { builderOptions, ownBuilder } from './joining-builders.js'
import type { HydraFacts } from './package-facts.js'
import {
  builderFile,
  builderSocket,
  type DaemonSettings,
  evaluatorFile,
  gcRoots,
  hydraConfigFile,
  hydraHome,
  hydraUsers,
  queueRunnerFile,
  runnerFolder,
} from './settings.js'

/** What the units depend on. */
export interface HydraUnitsInput {
  readonly settings: DaemonSettings
  /** The package's store path. */
  readonly package: string
  readonly facts: HydraFacts
  readonly database: Database
  /** The unit of the cluster. */
  readonly postgresql: string
}

/** A program of Hydra that runs all the time. */
export interface Daemon {
  readonly name: string
  readonly description: string
  readonly user: string
  /** Program and arguments, without the folder. */
  readonly exec: readonly string[]
  /** It says to systemd when it is ready. */
  readonly notifies?: boolean
  /** By default always. */
  readonly restart?: 'on-failure'
  /** Further lines of [Unit]. */
  readonly ties?: readonly string[]
  /** Further lines of [Service]. */
  readonly lines?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly writes: readonly string[]
  /** Files that it reads at its start. */
  readonly reads: readonly string[]
}

const { hydra, queueRunner, www } = hydraUsers

/** Lists what this generation of Hydra runs, the package has programs for and the options ask for. */
export function daemonsOf(input: HydraUnitsInput): Daemon[] {
  const { runner, programs } = input.facts
  const building = runner === 'goes-to-builders' ? [classicRunner(input)] : [gateway(input), builder(input)]
  const optional = input.settings.options.sendStats ? [sendStats] : []
  const all = [server(input), evaluator(input), ...building, notify, ...optional]
  return all.filter(({ exec: [program = ''] }) => programs.has(program))
}

/** Every name that a daemon of any generation has. */
export const daemonNames: readonly string[] = [
  'hydra-server',
  'hydra-evaluator',
  'hydra-queue-runner',
  'hydra-builder',
  'hydra-notify',
  'hydra-send-stats',
]

/** They call each other, and Nix, by name. */
function programPath({ package: path }: HydraUnitsInput): string {
  return `${path}/bin:/usr/bin:/bin`
}

function server({ settings: { options } }: HydraUnitsInput): Daemon {
  return {
    name: 'hydra-server',
    description: 'Hydra: web server',
    user: www,
    exec: [
      ...['hydra-server', '-f', '-h', options.listenHost, '-p', String(options.port)],
      ...['--max_spare_servers', '5', '--max_servers', '25', '--max_requests', '100'],
    ],
    environment: { COLUMNS: '80', XDG_CACHE_HOME: `${hydraHome}/www/.cache` },
    writes: [`${hydraHome}/www`, gcRoots],
    reads: [hydraConfigFile],
  }
}

function evaluator(input: HydraUnitsInput): Daemon {
  const ownSettings = input.facts.evaluatorToldBy === 'file'
  const options = ownSettings ? ['--config-path', evaluatorFile] : []
  const unlock = [`${input.package}/bin/hydra-evaluator`, ...options, '--unlock'].join(' ')
  return {
    name: 'hydra-evaluator',
    description: 'Hydra: evaluator',
    user: hydra,
    exec: ['hydra-evaluator', ...options],
    // It ends with 1 when it is told to stop: each stop would leave it `failed` (measured).
    lines: [`ExecStopPost=${unlock}`, 'SuccessExitStatus=1', `WorkingDirectory=${hydraHome}`],
    environment: { PATH: programPath(input) },
    writes: [hydraHome, gcRoots],
    reads: [hydraConfigFile, ...(ownSettings ? [evaluatorFile] : [])],
  }
}

/** In C++: it goes to the machines of its list, localhost among them. It reads that list again by itself. */
function classicRunner(input: HydraUnitsInput): Daemon {
  return {
    name: 'hydra-queue-runner',
    description: 'Hydra: queue runner',
    user: queueRunner,
    exec: ['hydra-queue-runner', '-v'],
    lines: [
      `ExecStopPost=${input.package}/bin/hydra-queue-runner --unlock`,
      `WorkingDirectory=${hydraHome}/queue-runner`,
      'LimitCORE=infinity',
    ],
    environment: { PATH: programPath(input), IN_SYSTEMD: '1' },
    writes: runnerWrites(input),
    reads: [hydraConfigFile],
  }
}

function runnerWrites({ settings: { options } }: HydraUnitsInput): string[] {
  const cache = options.cache.enable ? [options.cache.directory] : []
  return [`${hydraHome}/queue-runner`, `${hydraHome}/build-logs`, ...cache, gcRoots]
}

/**
 * In Rust: builders come to it, over a socket that only its own user can reach. A port, as Hydra's own module has it,
 * would be open to whoever is on the machine, also to builds with a fixed output, which have the machine's network; and
 * who calls himself a builder hands in results that are signed (read in Hydra's source at 14332fbf, not tried).
 * Its status is asked by hydra-server, at a port.
 */
function gateway(input: HydraUnitsInput): Daemon {
  return {
    name: 'hydra-queue-runner',
    description: 'Hydra: queue runner',
    user: queueRunner,
    exec: [
      ...['hydra-queue-runner', '--rest-bind', `127.0.0.1:${input.settings.options.queueRunnerPort}`],
      ...['--grpc-bind', builderSocket, '--config-path', queueRunnerFile],
    ],
    notifies: true,
    // Stopped for want of room and started again, it has its builder again.
    ties: ['Wants=hydra-builder.service'],
    lines: [
      // It goes with each stop, and the socket in it: on one that is there the runner would not start again.
      `RuntimeDirectory=${runnerFolder}`,
      'RuntimeDirectoryMode=0700',
      `WorkingDirectory=${hydraHome}/queue-runner`,
      'LimitNOFILE=65536',
    ],
    environment: { PATH: programPath(input), HOME: `/run/${runnerFolder}` },
    writes: runnerWrites(input),
    reads: [queueRunnerFile],
  }
}

/**
 * The machine's own builder, without which nothing would be built. It is the queue runner's user: the daemon must trust
 * both, and only that user reaches the socket. It ends when it loses the queue runner, and tries until that is back.
 */
function builder(input: HydraUnitsInput): Daemon {
  const { facts, settings } = input
  const fromFile = facts.builderToldBy === 'file'
  return {
    name: 'hydra-builder',
    description: "Hydra: the machine's own builder",
    user: queueRunner,
    exec: [
      ...['hydra-builder', '--gateway-endpoint', `unix://${builderSocket}`],
      ...(fromFile ? ['--config-path', builderFile] : builderOptions(ownBuilder(settings.options, facts))),
    ],
    notifies: true,
    // Not Wants=: the builder, which is started again and again without it, would start a queue runner that was stopped.
    ties: ['After=hydra-queue-runner.service', 'PartOf=hydra-queue-runner.service'],
    lines: ['RuntimeDirectory=hydra-builder'],
    environment: { PATH: programPath(input), HOME: '/run/hydra-builder' },
    writes: [],
    reads: fromFile ? [builderFile] : [],
  }
}

const notify: Daemon = {
  name: 'hydra-notify',
  description: 'Hydra: notifications',
  user: queueRunner,
  exec: ['hydra-notify'],
  // It compresses the logs of builds.
  writes: [`${hydraHome}/queue-runner`, `${hydraHome}/build-logs`, `${hydraHome}/runcommand-logs`],
  reads: [hydraConfigFile],
}

/**
 * The sender of statistics, for those who have a statsd: each of its questions to the queue runner may leave a warning
 * in the journal, every 35 s (measured). One that is not told where its queue runner is warns of it as often.
 */
const sendStats: Daemon = {
  name: 'hydra-send-stats',
  description: 'Hydra: statistics to statsd',
  user: hydra,
  exec: ['hydra-send-stats'],
  restart: 'on-failure',
  writes: [],
  reads: [hydraConfigFile],
}
