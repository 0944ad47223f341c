import { drainFolder, machinesIn, offerTask, readOffer, useTask } from '../core/builder-offer.js'
import type { Ops } from '../core/context.js'
import type { DeploymentRecord, MachineRecord } from '../core/deployment.js'
import { failure, usageError } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import { MachineName } from '../core/names.js'
import type { BuilderRow } from '../core/reports.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { suggest } from '../core/suggest.js'
import { connect } from '../machine/connect.js'
import { closeJob, recordedMachine } from '../machine/machine.js'
import { failuresIn } from '../machine/results.js'
import { dryRunSession } from '../machine/session.js'
import { askMachine, fact, runScript } from '../remote/run-script.js'
import { waitUntil } from '../remote/wait-until.js'
import { onMachines } from './on-machines.js'
import { runSetup, verifySetup } from './setup.js'

/** Lists the builders of a deployment with the machines that build there, as the last deploy left them. */
export async function listBuilders(ops: Ops, deployment: string | undefined): Promise<BuilderRow[]> {
  return rowsOf(await ops.store.resolve(deployment))
}

function rowsOf({ machines }: DeploymentRecord): BuilderRow[] {
  return Object.entries(machines).flatMap(([user, record]) => {
    const { builders, drained } = record.tasks[useTask]?.outputs ?? {}
    return machinesIn(builders).flatMap((builder) => {
      const offer = readOffer(offerOf(machines[builder]))
      return offer === undefined
        ? []
        : [
            {
              builder,
              usedBy: MachineName.parse(user),
              drained: machinesIn(drained).includes(builder),
              ...offer,
            },
          ]
    })
  })
}

function offerOf(record: MachineRecord | undefined): string | undefined {
  return record?.tasks[offerTask]?.outputs.entry
}

export interface BuilderRequest {
  readonly deployment: string | undefined
  /** Name of a builder; all builders if absent. */
  readonly builder?: string | undefined
  readonly maxConcurrent: number
}

/** Builds on every builder as its users do, and throws nothing: each using machine has a result. */
export async function testBuilders(ops: Ops, request: BuilderRequest): Promise<MachineResult[]> {
  const users = usersOf(await ops.store.resolve(request.deployment), request.builder)
  return verifySetup(ops, { ...request, selection: { on: users.join(',') }, task: useTask })
}

export interface DrainRequest extends BuilderRequest {
  readonly builder: string
  /** Time in which running builds must end, in milliseconds. */
  readonly deadlineMs: number
  /**
   * Time for which nothing may run before the builder counts as idle. A queue runner reads its list again within 30 s
   * (measured), and begins builds until then.
   */
  readonly idleMs: number
  readonly pauseMs: number
}

/**
 * Keeps new builds from a builder, and waits until its running builds have ended. The builder's line stays, with no job:
 * a queue runner would abort steps that no line covers (measured).
 */
export async function drainBuilder(ops: Ops, request: DrainRequest): Promise<MachineResult[]> {
  const record = await ops.store.resolve(request.deployment)
  const users = usersOf(record, request.builder)
  const builder = MachineName.parse(request.builder)
  const results = await mark(ops, request, { users, builder, drains: true })
  if (failuresIn(results).length === 0) await waitForIdle(ops, record, builder, request)
  return results
}

/** Lets a builder have builds again, after a build there has proved the builder. */
export async function resumeBuilder(
  ops: Ops,
  request: BuilderRequest & { readonly builder: string },
): Promise<MachineResult[]> {
  const users = usersOf(await ops.store.resolve(request.deployment), request.builder)
  return mark(ops, request, { users, builder: MachineName.parse(request.builder), drains: false })
}

/** Sets or removes the mark on each machine that builds there, and writes the lists anew. */
async function mark(
  ops: Ops,
  request: BuilderRequest,
  {
    users,
    builder,
    drains,
  }: { readonly users: readonly MachineName[]; readonly builder: MachineName; readonly drains: boolean },
): Promise<MachineResult[]> {
  const how = { ...request, selection: { on: users.join(',') } }
  const marked = await onMachines(ops, { ...how, verb: 'builders' }, async (deployment, machine, run) => {
    const values = { drained: drainFolder, name: builder, drains }
    await onHost(ops, deployment, machine, run, (host) =>
      runScript(host, { what: `mark builder '${builder}'`, script: 'tasks/builders/mark', values }, run),
    )
    return false
  })
  if (failuresIn(marked).length > 0) return marked
  return runSetup(ops, { ...how, task: useTask, redo: false })
}

export async function onHost<T>(
  ops: Ops,
  deployment: Parameters<typeof recordedMachine>[1],
  machine: MachineName,
  run: Run,
  action: (host: Host) => Promise<T>,
): Promise<T> {
  const session = recordedMachine(ops, deployment, machine, run)
  try {
    return await action(await connect(session))
  } finally {
    closeJob(session)
  }
}

async function waitForIdle(
  ops: Ops,
  record: DeploymentRecord,
  builder: MachineName,
  { deadlineMs, idleMs, pauseMs }: DrainRequest,
): Promise<void> {
  const run: Run = {
    signal: ops.signal,
    log: (line) => ops.events.emit({ kind: 'line', machine: builder, line }),
  }
  const user = record.machines[builder]?.tasks[offerTask]?.outputs.user ?? ''
  const question = { what: 'count the running builds', script: 'tasks/builder/serving', values: { user } }
  let idleSince: number | undefined
  await onHost(ops, dryRunSession(ops.files, record), builder, run, (host) =>
    waitUntil(builder, run, {
      what: 'no build runs there any more',
      code: 'BUILDER_BUSY',
      deadlineMs,
      pauseMs,
      hint: `builder '${builder}' gets no new builds; run hydra-ops builders drain ${builder} again, or hydra-ops builders resume ${builder}`,
      wrong: async () => {
        const serving = Number(fact(await askMachine(host, question, run), 'serving'))
        if (serving > 0) {
          idleSince = undefined
          return `${serving} ${serving === 1 ? 'build runs' : 'builds run'}`
        }
        idleSince ??= performance.now()
        const idle = performance.now() - idleSince
        return idle >= idleMs ? undefined : 'no build runs, and the lists of builders may not be read yet'
      },
    }),
  )
}

/** Returns the machines that build on a builder; refuses a name that is no builder. */
function usersOf(record: DeploymentRecord, builder: string | undefined): MachineName[] {
  const rows = rowsOf(record)
  const names = [...new Set(rows.map((row) => row.builder))]
  if (rows.length === 0)
    throw failure('NO_BUILDERS', 'no machine of the deployment builds for another one yet', {
      hint: 'set deployment.builder on a machine, then run hydra-ops deploy',
    })
  if (builder !== undefined && !names.some((name) => name === builder)) {
    const close = suggest(builder, names)
    throw usageError(`machine '${builder}' is no builder of the deployment`, {
      hint: close === undefined ? `the builders are: ${names.join(', ')}` : `did you mean '${close}'?`,
    })
  }
  const wanted = rows.filter((row) => builder === undefined || row.builder === builder)
  return [...new Set(wanted.map(({ usedBy }) => usedBy))]
}
