import { drainFolder, operatorName, useTask } from '../core/builder-offer.js'
import { builderRows } from '../core/builder-rows.js'
import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { failure, messageOf, throwIfAborted, usageError } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import { MachineName } from '../core/names.js'
import { buildersOfOperator } from '../core/operator-builders.js'
import type { BuilderRow } from '../core/reports.js'
import type { Run } from '../core/run.js'
import { settleAll } from '../core/settle.js'
import type { Host } from '../core/ssh.js'
import { suggest } from '../core/suggest.js'
import { type DrainTimes, untilIdle } from '../deploy/drain.js'
import { connect } from '../machine/connect.js'
import { closeJob, recordedMachine, withLink } from '../machine/machine.js'
import { drainedByOperator, markForOperator, operatorBuilders } from '../machine/operator-builders.js'
import { failuresIn } from '../machine/results.js'
import { dryRunSession } from '../machine/session.js'
import { askMachine, runScript } from '../remote/run-script.js'
import { onMachines } from './on-machines.js'
import { testFromHere } from './operator-builders.js'
import { runSetup, verifySetup } from './setup.js'

/** Lists the builders of a deployment with the machines that build there, as the last deploy left them. */
export async function listBuilders(ops: Ops, deployment: string | undefined): Promise<BuilderRow[]> {
  return rowsOf(ops, await ops.store.resolve(deployment))
}

/** Lists the builders of machines, and those of the operator host. */
function rowsOf(ops: Ops, record: DeploymentRecord): BuilderRow[] {
  const drained = drainedByOperator(ops, record)
  const ours = buildersOfOperator(record).map(
    ({ hostKey: _hostKey, machine, ...offer }): BuilderRow => ({
      builder: machine,
      usedBy: operator,
      drained: drained.has(machine),
      ...offer,
    }),
  )
  return [...builderRows(record), ...ours]
}

/** Name of the operator host in the list of machines that use builders. */
const operator = MachineName.parse(operatorName)

/** Deadline of the list for one login, and for the query after the login. */
const stepsMs = 15_000

/**
 * Lists the builders with the builds that run there. A builder that froze during a build reports nothing (measured).
 * The machines that build there therefore report the age of their connections.
 */
export async function listRunning(
  ops: Ops,
  { deployment, frozenAfterMs }: { readonly deployment: string | undefined; readonly frozenAfterMs: number },
): Promise<BuilderRow[]> {
  const record = await ops.store.resolve(deployment)
  const rows = rowsOf(ops, record)
  const users = [...new Set(rows.map(({ usedBy }) => usedBy))].filter((user) => user !== operator)
  const told = await settleAll(
    users.map(async (user) => [user, await stepsOf(ops, record, user, rows)] as const),
  )
  const steps = new Map(told)
  return rows.map((row) => {
    const ages = steps.get(row.usedBy)?.get(loginOf(row))
    if (ages === undefined) return row
    const oldest = Math.max(0, ...ages)
    return { ...row, steps: { count: ages.length, oldest, frozen: oldest * 1_000 >= frozenAfterMs } }
  })
}

const loginOf = ({ user, host }: BuilderRow): string => `${user}@${host}`

/** Queries a machine for the ages of its builds, by the login on the builder; undefined if the query fails. */
async function stepsOf(
  ops: Ops,
  record: DeploymentRecord,
  user: MachineName,
  rows: readonly BuilderRow[],
): Promise<ReadonlyMap<string, readonly number[]> | undefined> {
  const run: Run = {
    signal: ops.signal,
    log: (line) => ops.events.emit({ kind: 'line', machine: user, line }),
  }
  const logins = rows.filter(({ usedBy }) => usedBy === user).map(loginOf)
  const what = 'count the builds on the builders'
  const question = { what, script: 'tasks/builders/steps', values: { logins }, timeoutMs: stepsMs }
  const session = recordedMachine(ops, dryRunSession(ops.files, record), user, run)
  try {
    const facts = await askMachine(await connect(session, stepsMs), question, run)
    const lines = (facts.get('step') ?? []).map((line) => line.split(' '))
    return new Map(
      logins.map((login) => [
        login,
        lines.flatMap(([seconds, at]) => (at === login ? [Number(seconds)] : [])),
      ]),
    )
  } catch (error) {
    throwIfAborted(run.signal)
    ops.events.emit({
      kind: 'notice',
      text: `machine '${user}' cannot report what its builders are doing: ${messageOf(error)}`,
    })
    return undefined
  } finally {
    closeJob(session)
  }
}

export interface BuilderRequest {
  readonly deployment: string | undefined
  /** Name of a builder; all builders if absent. */
  readonly builder?: string | undefined
  readonly maxConcurrent: number
}

/**
 * Tests each builder by a build from every machine that uses the builder. A failure is the result of the machine, not
 * an error.
 */
export async function testBuilders(ops: Ops, request: BuilderRequest): Promise<MachineResult[]> {
  const record = await ops.store.resolve(request.deployment)
  const users = usersOf(ops, record, request.builder)
  const machines = users.filter((name) => name !== operator)
  const results =
    machines.length === 0
      ? []
      : await verifySetup(ops, { ...request, selection: { on: machines.join(',') }, task: useTask })
  if (machines.length === users.length) return results
  return [...results, ...(await testFromHere(ops, record, request.builder))]
}

export interface DrainRequest extends BuilderRequest, DrainTimes {
  readonly builder: string
}

/**
 * Keeps new builds from a builder, and waits until its running builds have ended. The builder's line stays, with zero
 * jobs: a queue runner aborts steps that no line covers (measured).
 */
export async function drainBuilder(ops: Ops, request: DrainRequest): Promise<MachineResult[]> {
  const record = await ops.store.resolve(request.deployment)
  const users = usersOf(ops, record, request.builder)
  const builder = MachineName.parse(request.builder)
  const results = await mark(ops, request, { users, builder, drains: true })
  if (failuresIn(results).length === 0) await waitForIdle(ops, record, builder, request)
  return results
}

/** Allows new builds on a builder again, after a test build there has succeeded. */
export async function resumeBuilder(
  ops: Ops,
  request: BuilderRequest & { readonly builder: string },
): Promise<MachineResult[]> {
  const users = usersOf(ops, await ops.store.resolve(request.deployment), request.builder)
  return mark(ops, request, { users, builder: MachineName.parse(request.builder), drains: false })
}

/** Sets or removes the drain mark on each machine that uses the builder, and rewrites the lists. */
async function mark(
  ops: Ops,
  request: BuilderRequest,
  {
    users,
    builder,
    drains,
  }: { readonly users: readonly MachineName[]; readonly builder: MachineName; readonly drains: boolean },
): Promise<MachineResult[]> {
  const machines = users.filter((name) => name !== operator)
  const here = machines.length < users.length ? await markHere(ops, request, builder, drains) : []
  if (machines.length === 0) return here
  const how = { ...request, selection: { on: machines.join(',') } }
  const marked = await onMachines(ops, { ...how, verb: 'builders' }, async (deployment, machine, run) => {
    const values = { drained: drainFolder, name: builder, drains }
    await onHost(ops, deployment, machine, run, (host) =>
      runScript(host, { what: `mark builder '${builder}'`, script: 'tasks/builders/mark', values }, run),
    )
    return false
  })
  if (failuresIn(marked).length > 0) return [...here, ...marked]
  return [...here, ...(await runSetup(ops, { ...how, task: useTask, redo: false }))]
}

/** Changes the drain mark on this host, and tests a builder that gets builds again. */
async function markHere(
  ops: Ops,
  { deployment }: BuilderRequest,
  builder: MachineName,
  drains: boolean,
): Promise<MachineResult[]> {
  const record = await ops.store.resolve(deployment)
  await markForOperator(ops, record, builder, drains)
  if (!drains) return testFromHere(ops, record, builder)
  await operatorBuilders(ops, record, { signal: ops.signal, log: () => {} })
  return [{ machine: operator, outcome: 'changed', seconds: 0 }]
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
  request: DrainRequest,
): Promise<void> {
  const run: Run = {
    signal: ops.signal,
    log: (line) => ops.events.emit({ kind: 'line', machine: builder, line }),
  }
  const session = recordedMachine(ops, dryRunSession(ops.files, record), builder, run)
  await withLink(session, async () => {
    await connect(session)
    await untilIdle(session, request, {
      what: 'the builder is idle',
      hint: `builder '${builder}' gets no new builds; run hydra-ops builders drain ${builder} again, or hydra-ops builders resume ${builder}`,
    })
  })
}

/** Returns the machines that build on a builder; refuses a name that is not a builder. */
function usersOf(ops: Ops, record: DeploymentRecord, builder: string | undefined): MachineName[] {
  const rows = rowsOf(ops, record)
  const names = [...new Set(rows.map((row) => row.builder))]
  if (rows.length === 0)
    throw failure('NO_BUILDERS', 'no machine of the deployment builds for another machine yet', {
      hint: 'set deployment.builder on a machine, then run hydra-ops deploy',
    })
  if (builder !== undefined && !names.some((name) => name === builder)) {
    const close = suggest(builder, names)
    throw usageError(`machine '${builder}' is not a builder of the deployment`, {
      hint: close === undefined ? `the builders are: ${names.join(', ')}` : `did you mean '${close}'?`,
    })
  }
  const wanted = rows.filter((row) => builder === undefined || row.builder === builder)
  return [...new Set(wanted.map(({ usedBy }) => usedBy))]
}
