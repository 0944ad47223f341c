import type { Database } from './config-text.js'
import { builderOptions, ownBuilder } from './joining-builders.js'
import type { HydraFacts } from './package-facts.js'
import {
  builderFile,
  builderSocket,
  type DaemonSettings,
  evaluatorFile,
  gcRoots,
  hasLiveLogs,
  hydraConfigFile,
  hydraHome,
  hydraUsers,
  liveLogsFile,
  liveLogsPort,
  queueRunnerFile,
  runnerFolder,
} from './settings.js'

/** Facts and options that the units depend on. */
export interface HydraUnitsInput {
  readonly settings: DaemonSettings
  /** Store path of the package. */
  readonly package: string
  readonly facts: HydraFacts
  readonly database: Database
  /** Unit of the PostgreSQL cluster. */
  readonly postgresql: string
}

/** A long-running program of Hydra. */
export interface Daemon {
  readonly name: string
  readonly description: string
  readonly user: string
  /** Program and arguments, without the folder. */
  readonly exec: readonly string[]
  /** Whether the program tells systemd when it is ready. */
  readonly notifies?: boolean
  /** Restart policy; the default is always. */
  readonly restart?: 'on-failure'
  /** Additional lines of [Unit]. */
  readonly ties?: readonly string[]
  /** Additional lines of [Service]. */
  readonly lines?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly writes: readonly string[]
  /** Files that the program reads at its start. */
  readonly reads: readonly string[]
}

const { hydra, queueRunner, www } = hydraUsers

/** Lists the daemons that this generation of Hydra has, the package contains and the options request. */
export function daemonsOf(input: HydraUnitsInput): Daemon[] {
  const { runner, programs } = input.facts
  const building = runner === 'goes-to-builders' ? [classicRunner(input)] : [gateway(input), builder(input)]
  const optional = [
    ...(input.settings.options.sendStats ? [sendStats] : []),
    ...(hasLiveLogs(input.settings, programs) ? [liveLogs] : []),
  ]
  const all = [server(input), evaluator(input), ...building, notify, ...optional]
  return all.filter(({ exec: [program = ''] }) => programs.has(program))
}

/** Names of the daemons of all generations. */
export const daemonNames: readonly string[] = [
  'hydra-server',
  'hydra-evaluator',
  'hydra-queue-runner',
  'hydra-builder',
  'hydra-notify',
  'hydra-send-stats',
  'hydra-ws',
]

/** Returns the PATH; Hydra's programs call each other, and Nix, by name. */
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
  const ownSettings = input.facts.evaluatorSettings === 'file'
  const options = ownSettings ? ['--config-path', evaluatorFile] : []
  const unlock = [`${input.package}/bin/hydra-evaluator`, ...options, '--unlock'].join(' ')
  return {
    name: 'hydra-evaluator',
    description: 'Hydra: evaluator',
    user: hydra,
    exec: ['hydra-evaluator', ...options],
    // The evaluator ends with 1 when systemd stops it, so each stop would otherwise leave the unit `failed` (measured).
    lines: [`ExecStopPost=${unlock}`, 'SuccessExitStatus=1', `WorkingDirectory=${hydraHome}`],
    environment: { PATH: programPath(input) },
    writes: [hydraHome, gcRoots],
    reads: [hydraConfigFile, ...(ownSettings ? [evaluatorFile] : [])],
  }
}

/**
 * Describes the queue runner in C++, which connects to the machines of its list, including localhost. The runner
 * rereads that list by itself.
 */
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
 * Describes the queue runner in Rust, to which builders connect over a socket that only its own user can reach.
 * Hydra's own module has a port instead, which is open to every process on the machine. Even builds with a fixed
 * output could connect, because they have the machine's network. A process that poses as a builder could hand in
 * results, which Hydra then signs. (Read in Hydra's source at 14332fbf, not tried.) hydra-server queries the runner's
 * status over a port.
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
    // The runner starts its builder again after a stop for lack of disk space.
    ties: ['Wants=hydra-builder.service'],
    lines: [
      // systemd removes the folder at each stop, because the runner does not start on a leftover socket.
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
 * Describes the machine's own builder, without which nothing would be built. The builder runs as the queue runner's
 * user: the daemon must trust both, and only that user reaches the socket. The builder exits when it loses the queue
 * runner, and restarts until the runner is back.
 */
function builder(input: HydraUnitsInput): Daemon {
  const { facts, settings } = input
  const fromFile = facts.builderSettings === 'file'
  return {
    name: 'hydra-builder',
    description: "Hydra: the machine's own builder",
    user: queueRunner,
    exec: [
      ...['hydra-builder', '--gateway-endpoint', `unix://${builderSocket}`],
      ...(fromFile ? ['--config-path', builderFile] : builderOptions(ownBuilder(settings.options, facts))),
    ],
    notifies: true,
    // Wants= is not used here, because a builder that keeps restarting would then start a stopped queue runner.
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
  // hydra-notify compresses the logs of builds.
  writes: [`${hydraHome}/queue-runner`, `${hydraHome}/build-logs`, `${hydraHome}/runcommand-logs`],
  reads: [hydraConfigFile],
}

/**
 * The daemon that sends statistics to statsd. Each of its requests to the queue runner may leave a warning in the
 * journal, every 35 s (measured). A daemon without the queue runner's address warns as often.
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

/**
 * The daemon that sends the logs of running builds. The daemon runs as the web server's user, who may read the logs
 * and log in to the database. The nixpkgs module has another user with the same rights. (Read in Hydra's source at
 * 0d7df7bf, tried with a stand-in.)
 */
const liveLogs: Daemon = {
  name: 'hydra-ws',
  description: 'Hydra: logs of running builds',
  user: www,
  exec: ['hydra-ws', '--bind', `127.0.0.1:${liveLogsPort}`, '--config-path', liveLogsFile],
  notifies: true,
  writes: [],
  reads: [liveLogsFile],
}
