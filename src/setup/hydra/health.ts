import * as z from 'zod'
import { httpAnswer } from '../../core/http-request.js'
import type { Run } from '../../core/run.js'
import type { TaskRun } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, fact } from '../../remote/run-script.js'
import { askSocket } from '../ask-socket.js'
import type { HydraFacts } from './package-facts.js'
import {
  type DaemonSettings,
  databaseValues,
  hydraConfigFile,
  hydraHome,
  hydraUsers,
  nixSocketGroup,
  reachedAt,
} from './settings.js'

/** Facts for the health check of an installed Hydra. */
export interface Installed {
  readonly facts: Pick<HydraFacts, 'runner'>
  readonly environment: Readonly<Record<string, string>>
  /** Port of the database. */
  readonly databasePort: number
}

const requestMs = 60_000

/** Describes a wrong answer of the web server; returns `undefined` if the answer is right. */
export async function webProblem(settings: DaemonSettings, run: TaskRun): Promise<string | undefined> {
  const { port, listenHost } = settings.options
  const { status } = await httpAnswer({
    url: `http://127.0.0.1:${port}/`,
    checkCertificate: false,
    connect: (bounds) => run.connect(port, bounds, reachedAt(listenHost)),
    signal: run.signal,
    timeoutMs: requestMs,
  })
  // Hydra with `private = 1` in hydra.conf answers 403 to visitors who are not signed in (recorded).
  return status === 200 || status === 403 ? undefined : `the web server answers with status ${status}`
}

/**
 * Finds units whose processes began before their user got access to the Nix daemon. A process gets its groups at its
 * start (credentials(7)), so evaluations and builds fail until these units restart.
 */
export async function unitsWithoutNixAccess(
  host: Host,
  units: readonly string[],
  run: Run,
): Promise<string[]> {
  const question = {
    what: "look at the groups of Hydra's services",
    script: 'tasks/hydra/groups',
    values: { group: nixSocketGroup, units },
  }
  return [...((await askMachine(host, question, run)).get('unit') ?? [])]
}

/**
 * Checks each service as the user that runs the service. An active unit proves nothing. A queue runner without the
 * daemon is active, and so is a server whose every page is an error (measured).
 */
export async function healthProblems(
  host: Host,
  settings: DaemonSettings,
  { facts: { runner }, environment, databasePort }: Installed,
  run: Run,
): Promise<string[]> {
  const { package: path, database, listenHost, port, queueRunnerPort } = settings.options
  const question = {
    what: 'query the services of Hydra',
    script: 'tasks/hydra/health',
    values: {
      ...databaseValues(database.name, databasePort),
      home: hydraHome,
      config: hydraConfigFile,
      package: path ?? '',
      environment: Object.entries(environment).map(([name, value]) => `${name}=${value}`),
      runner_user: hydraUsers.queueRunner,
      www_user: hydraUsers.www,
      address: listenHost,
      port,
      runner_port: runner === 'takes-builders' ? queueRunnerPort : '-',
      ask_socket: askSocket(),
    },
  }
  const facts = await askMachine(host, question, run)
  const builders = runner === 'takes-builders' ? noBuilder(fact(facts, 'builders'), queueRunnerPort) : []
  return [...(facts.get('wrong') ?? []), ...builders]
}

const Builders = z.looseObject({ machines: z.record(z.string(), z.unknown()) })

/** Describes a queue runner without builders, from its own answer. */
function noBuilder(answer: string, port: number): string[] {
  const said = Builders.safeParse(jsonOf(answer)).data
  if (said === undefined) return [`the queue runner does not answer on port ${port}`]
  return Object.keys(said.machines).length === 0 ? ['no builder is connected to the queue runner'] : []
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
