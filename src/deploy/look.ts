import { offerTask } from '../core/builder-offer.js'
import type { MachineRecord } from '../core/deployment.js'
import { MachineName } from '../core/names.js'
import type { PlanItem } from '../core/plan.js'
import { settleAll } from '../core/settle.js'
import type { PeerMachine, TaskMachine, WantedTask } from '../core/setup-task.js'
import { inspectKeys } from '../keys/deliver.js'
import { planKeys, resolveKeys, type SeenKey } from '../keys/keys.js'
import { hostOf } from '../machine/connect.js'
import { isInHome } from '../machine/home.js'
import { recordOf, secretsOf } from '../machine/machine.js'
import { builderKeyOf } from '../machine/operator-builders.js'
import { batchedHost } from '../remote/batched-host.js'
import type { Activated, Survey, SystemLook } from '../systems/system.js'
import { systemOf } from '../systems/systems.js'
import { planTasks, probeTasks, type TaskContext, type TaskStatus } from '../tasks/engine.js'
import { keyedHash } from '../tasks/keyed-hash.js'
import { connectAsUser, secretKeeper, taskSecrets } from '../tasks/secrets.js'
import type { Job } from './job.js'

/** State of a machine, read over one connection: enough to determine all due work. */
export interface MachineState {
  readonly survey: Survey
  readonly keys: readonly SeenKey[]
  readonly system: SystemLook
  readonly tasks: readonly TaskStatus[]
  readonly items: readonly PlanItem[]
}

/** Looks at a machine over its open connection; changes nothing there. */
export async function lookAt(job: Job): Promise<MachineState> {
  const host = batchedHost(hostOf(job))
  const tasks = await wantedTasks(job)
  // A dry run never runs a user's command, not even to obtain a key.
  const resolved = await resolveKeys(job.definition, {
    local: job.ops.local,
    runCommands: job.deployment.writable,
    run: job.run,
    known: job.keyTexts,
  })
  const context = await taskContext(job)
  // All three queries end before an error is thrown, because the caller then closes the connection.
  const [system, keys, statuses] = await settleAll([
    systemOf(job.definition).look(host, job.definition, tasks, job.run),
    inspectKeys(host, resolved, job.run),
    probeTasks(host, tasks, context),
  ])
  const items = [...system.items, ...planTasks(statuses, job.request), ...planKeys(keys, recordOf(job).keys)]
  return { survey: system.survey, keys, system, tasks: statuses, items }
}

/** Looks again at the later tasks, because the tasks of `bootstrap` may have changed their state. */
export async function lookAtLaterTasks(job: Job, look: MachineState): Promise<MachineState> {
  const later = look.tasks.flatMap(({ task }) => (task.stage === 'configure' ? [task] : []))
  return { ...look, tasks: await probe(job, later) }
}

/**
 * Looks again at earlier tasks if the activation removed or restored something that a task writes. An earlier
 * definition may have contained that file. All tasks without due work are probed then, because a task may depend on
 * another task.
 */
export async function lookAtUndoneTasks(
  job: Job,
  look: MachineState,
  { undone }: Activated,
): Promise<MachineState> {
  const due = look.tasks.filter(({ why }) => why !== undefined)
  const done = (await wantedTasks(job)).filter(({ id }) => !due.some(({ task }) => task.id === id))
  const { undoes } = systemOf(job.definition)
  const untouched = undone?.every((line) => !done.some((task) => undoes(line, task))) ?? false
  if (untouched) return look
  return { ...look, tasks: [...due, ...(await probe(job, done))] }
}

async function probe(job: Job, tasks: readonly WantedTask[]): Promise<TaskStatus[]> {
  return probeTasks(batchedHost(hostOf(job)), tasks, await taskContext(job))
}

export async function wantedTasks(job: Job): Promise<WantedTask[]> {
  const machine = taskMachineOf(job)
  const wanted = (await job.ops.tasks()).flatMap((bind) => bind(machine) ?? [])
  // Every other task needs root.
  return isInHome(job.definition, undefined) ? wanted.filter(({ id }) => id === offerTask) : wanted
}

/** Describes the machine for set-up tasks. */
export function taskMachineOf(job: Job): TaskMachine {
  // The machine may have no record, because status also covers machines that were never deployed.
  const known = job.deployment.record.machines[job.machine]
  const allocation = known?.allocation
  return {
    definition: job.definition,
    deployment: deploymentName(job),
    outputs: outputsOf(known),
    operatorKey: builderKeyOf(job.ops, job.deployment.record),
    peers: peersOf(job),
    publishedPort: (port) =>
      allocation === undefined ? undefined : job.provider.publishedPort?.(allocation, port),
  }
}

interface KnownPeers {
  readonly network: Job['network']
  /** Records from which the peers were described. A change replaces a machine's record. */
  readonly records: ReadonlyMap<string, MachineRecord>
  readonly peers: ReadonlyMap<MachineName, PeerMachine>
}

/**
 * Cache of peers, keyed by the machines of a state. Each machine of a fleet needs all peers, and few records change
 * meanwhile.
 */
const knownPeers = new WeakMap<Job['deployment']['record']['machines'], KnownPeers>()

/** Describes the machines of the deployment: those in the state, and new machines that only the network has. */
function peersOf({ deployment, network }: Job): ReadonlyMap<MachineName, PeerMachine> {
  const { machines } = deployment.record
  const before = knownPeers.get(machines)
  const now = Object.entries(machines)
  const same =
    before?.network === network &&
    before?.records.size === now.length &&
    now.every(([name, record]) => before.records.get(name) === record)
  if (same) return before.peers
  const records = new Map(now)
  const peers = new Map(
    [...records].map(([text, record]): [MachineName, PeerMachine] => {
      const name = MachineName.parse(text)
      return [name, peerOf(record, network?.machines.get(name))]
    }),
  )
  for (const [name, definition] of network?.machines ?? [])
    if (!peers.has(name)) peers.set(name, peerOf(undefined, definition))
  knownPeers.set(machines, { network, records, peers })
  return peers
}

function peerOf(known: MachineRecord | undefined, definition: PeerMachine['definition']): PeerMachine {
  return {
    hostKey: known?.hostKey,
    outputs: outputsOf(known),
    definition,
    obsolete: known?.obsolete === true,
  }
}

function outputsOf(known: MachineRecord | undefined): PeerMachine['outputs'] {
  const records = Object.entries(known?.tasks ?? {})
  return Object.fromEntries(records.map(([task, { outputs }]) => [task, outputs]))
}

export async function taskContext(job: Job, redo: ReadonlySet<string> = new Set()): Promise<TaskContext> {
  return {
    records: recordOf(job).tasks,
    redo,
    hmac: await keyedHash(job.deployment, secretsOf(job)),
    secrets: taskSecrets(secretKeeper(job, job.secretTexts)),
    allowRecreate: job.request.allowRecreate,
    prune: job.request.prune,
    connect: (port, bounds, address) => connectAsUser(job, port, bounds, address),
    now: () => job.ops.now(),
    run: job.run,
  }
}

function deploymentName(job: Job): string {
  const { name, uuid } = job.deployment.record
  return name ?? uuid.slice(0, 8)
}
