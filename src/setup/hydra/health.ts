import * as z from 'zod'
import { httpAnswer } from '../../core/http-request.js'
import type { Run } from '../../core/run.js'
import type { TaskRun } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, fact } from '../../remote/run-script.js'
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

/** What is asked of a Hydra that should run. */
export interface Installed {
  readonly facts: Pick<HydraFacts, 'runner'>
  readonly environment: Readonly<Record<string, string>>
  /** Of the database. */
  readonly databasePort: number
}

const requestMs = 60_000

/** What its web server answers; undefined = as it should. */
export async function webProblem(settings: DaemonSettings, run: TaskRun): Promise<string | undefined> {
  const { port, listenHost } = settings.options
  const { status } = await httpAnswer({
    url: `http://127.0.0.1:${port}/`,
    checkCertificate: false,
    connect: (bounds) => run.connect(port, bounds, reachedAt(listenHost)),
    signal: run.signal,
    timeoutMs: requestMs,
  })
  // With `private = 1` in hydra.conf it shows nothing to who is not signed in (recorded).
  return status === 200 || status === 403 ? undefined : `it answers with status ${status}`
}

/**
 * Units whose processes began before their user was let in to the Nix daemon: groups come with the start of a process
 * (credentials(7)), and until they are started again evaluations and builds fail.
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
 * That a unit is active proves nothing: a queue runner without the daemon and a server whose every page is an error
 * are active too (measured). So each is asked as the user who runs it.
 */
export async function healthProblems(
  host: Host,
  settings: DaemonSettings,
  { facts: { runner }, environment, databasePort }: Installed,
  run: Run,
): Promise<string[]> {
  const { package: path, database, listenHost, port, queueRunnerPort } = settings.options
  const question = {
    what: 'ask the services of Hydra',
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
    },
  }
  const facts = await askMachine(host, question, run)
  const builders = runner === 'takes-builders' ? noBuilder(fact(facts, 'builders'), queueRunnerPort) : []
  return [...(facts.get('wrong') ?? []), ...builders]
}

const Builders = z.looseObject({ machines: z.record(z.string(), z.unknown()) })

/** What the queue runner says of who came to it. */
function noBuilder(answer: string, port: number): string[] {
  const said = Builders.safeParse(jsonOf(answer)).data
  if (said === undefined) return [`the queue runner does not answer on port ${port}`]
  return Object.keys(said.machines).length === 0 ? ['no builder has come to the queue runner'] : []
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
