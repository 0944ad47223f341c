import type { Ops, RunLogs } from '../../core/context.js'
import type { NetworkDefinition } from '../../core/definition.js'
import { exitCodes, interrupted, messageOf, OpsError } from '../../core/errors.js'
import type { MachineResult } from '../../core/events.js'
import type { MachineName } from '../../core/names.js'
import type { MachinePlan, Plan } from '../../core/plan.js'
import type { Run } from '../../core/run.js'
import { settleAll } from '../../core/settle.js'
import { destroyMachine } from '../destroy.js'
import type { Assessment } from './assess.js'
import { type Assessed, assessAll } from './assess-all.js'
import { buildEverything } from './build-everything.js'
import { chooseMachines, choosesSome } from './choose-machines.js'
import { ensureLoginKey } from './create.js'
import { definitionIn, evaluateNetwork } from './evaluate-network.js'
import { failedResult, secondsSince } from './finish.js'
import { closeJob, type Job, machineRun, newJob, updateJob } from './job.js'
import { inOrder } from './ordering.js'
import { deployMachine } from './pipeline.js'
import { planMachine } from './plan-machine.js'
import type { DeployReport, DeployRequest } from './request.js'
import { dryingSession, type Session, writingSession } from './session.js'

/**
 * The deploy pipeline: evaluate, inspect, plan, ask, build everything, and only then work on the
 * machines. A dry run stops after the plan and writes nothing anywhere.
 */
export async function deploy(ops: Ops, request: DeployRequest): Promise<DeployReport> {
  const { uuid } = ops.store.resolve(request.deployment)
  if (request.dryRun) return deployIn(ops, dryingSession(ops.store, uuid), request, undefined)
  return ops.store.lock(uuid, async (held) => {
    const session = writingSession(held)
    const logs = ops.logs(session.paths.logs)
    try {
      return await deployIn(ops, session, request, logs)
    } catch (error) {
      session.journal({ event: 'deploy.end', result: messageOf(error) })
      throw withWhatGoesOn(session, error)
    } finally {
      logs.close()
    }
  })
}

/** After Ctrl-C: what was started on machines and ends without us. */
function withWhatGoesOn(session: Session, error: unknown): unknown {
  if (!(error instanceof OpsError) || error.code !== 'INTERRUPTED') return error
  const going = Object.entries(session.record.machines).flatMap(([name, { activation }]) =>
    activation === undefined ? [] : [`${name} (${activation.unit})`],
  )
  if (going.length === 0) return error
  return interrupted(`${error.message}; the activation goes on without us on ${going.join(', ')}`, {
    cause: error,
    hint: 'hydra-ops deploy picks up its result',
  })
}

async function deployIn(
  ops: Ops,
  session: Session,
  request: DeployRequest,
  logs: RunLogs | undefined,
): Promise<DeployReport> {
  const run: Run = {
    signal: ops.signal,
    log: (line) => ops.events.emit({ kind: 'line', machine: undefined, line }),
  }
  const network = await evaluateNetwork(
    ops,
    session,
    {
      args: request.args,
      searchPath: request.searchPath,
      nix: request.nix,
      select: choosesSome(request)
        ? (shape) => chooseMachines(session.record, shape, request).wanted
        : undefined,
    },
    run,
  )
  const { wanted, obsolete } = chooseMachines(session.record, network, request)
  noticeBroken(ops, network)
  const jobs = wanted.map((name) =>
    newJob({ ops, session, request, definition: definitionIn(network, name) }, logs),
  )
  try {
    const assessed = await assessAll(jobs, request.maxConcurrent)
    const plan = await makePlan(assessed, obsolete, request)
    request.onPlan(plan, session.record)
    if (request.dryRun) return { deployment: session.record, plan, results: [] }
    await confirmDisruption(ops, plan, request)
    session.journal({ event: 'deploy.begin', data: jobs.map((job) => job.machine) })
    const results = await apply(ops, session, assessed, { obsolete, request, network, run, logs })
    session.journal({ event: 'deploy.end', result: verdict(results) })
    return { deployment: session.record, plan, results }
  } finally {
    for (const job of jobs) closeJob(job)
  }
}

/** Of those that are selected it is an error. */
function noticeBroken(ops: Ops, network: NetworkDefinition): void {
  for (const error of network.failed?.values() ?? []) {
    ops.events.emit({ kind: 'notice', text: `left out, as it is not selected: ${messageOf(error)}` })
  }
}

async function makePlan(
  assessed: readonly Assessed[],
  obsolete: readonly MachineName[],
  request: DeployRequest,
): Promise<Plan> {
  const machines: MachinePlan[] = await settleAll(
    assessed.map(async ({ job, seen, failed }) =>
      seen === undefined
        ? { machine: job.machine, items: [], unknown: failed?.reason ?? 'unknown' }
        : planMachine(job, seen),
    ),
  )
  for (const machine of obsolete) {
    const note = request.killObsolete ? undefined : 'needs --kill-obsolete'
    machines.push({
      machine,
      items: [{ subject: 'machine', action: 'destroy', detail: 'obsolete: no longer in the network', note }],
    })
  }
  const disruptive =
    assessed.some(({ seen, job }) => seen !== undefined && disrupts(seen, job)) || killsSomething()
  return { machines, disruptive }

  function killsSomething(): boolean {
    return request.killObsolete && obsolete.length > 0
  }
}

function disrupts(seen: Assessment, job: Job): boolean {
  const { allowReboot, forceReboot, allowRecreate } = job.request
  if (forceReboot) return true
  const running = seen.observation.kind === 'running'
  return seen.changes.some(
    (change) =>
      (change.needs === 'recreate' && allowRecreate) ||
      (change.needs === 'restart' && running && allowReboot),
  )
}

async function confirmDisruption(ops: Ops, plan: Plan, request: DeployRequest): Promise<void> {
  if (!plan.disruptive || request.yes) return
  if (await ops.questions.confirm('the plan destroys, recreates, restarts or reboots something. Go on?'))
    return
  throw new OpsError('REFUSED', exitCodes.failed, 'nothing was changed')
}

interface Applying {
  readonly obsolete: readonly MachineName[]
  readonly request: DeployRequest
  readonly network: NetworkDefinition
  readonly run: Run
  readonly logs: RunLogs | undefined
}

async function apply(
  ops: Ops,
  session: Session,
  assessed: readonly Assessed[],
  how: Applying,
): Promise<MachineResult[]> {
  const results: MachineResult[] = assessed.flatMap(({ failed }) => failed ?? [])
  const ready = assessed.flatMap(({ job, seen }) => (seen === undefined ? [] : [{ job, seen }]))
  const built = await buildEverything(ops, session, ready, how.request, how.run)
  results.push(...built.failures)
  if (how.request.until === 'build') {
    results.push(
      ...built.ready.map(({ job }) => ({ machine: job.machine, outcome: 'unchanged' as const, seconds: 0 })),
    )
    return finish(ops, session, results)
  }
  if (how.request.killObsolete) results.push(...(await killObsolete(ops, session, how)))
  await ensureLoginKey(built.ready.map(({ job }) => job))
  const deployed = await inOrder(
    built.ready,
    how.network.ordering,
    how.request.maxConcurrent,
    ({ job, seen }) => deployMachine(job, seen, how.logs),
  )
  results.push(...deployed)
  for (const { job } of built.ready) {
    const result = deployed.find((each) => each.machine === job.machine)
    if (
      result !== undefined &&
      result.outcome !== 'skipped' &&
      Object.hasOwn(session.record.machines, job.machine)
    ) {
      const { outcome } = result
      updateJob(job, (draft) => Object.assign(draft, { lastResult: outcome }))
    }
  }
  return finish(ops, session, results)
}

async function killObsolete(ops: Ops, session: Session, how: Applying): Promise<MachineResult[]> {
  const results: MachineResult[] = []
  for (const machine of how.obsolete) {
    const start = Date.now()
    try {
      await destroyMachine(ops, session, machine, machineRun(ops, machine, how.logs))
      results.push({
        machine,
        outcome: 'changed',
        seconds: secondsSince(start),
        reason: 'destroyed: obsolete',
      })
    } catch (error) {
      results.push(failedResult(machine, 'create', secondsSince(start), error, []))
    }
  }
  return results
}

function finish(ops: Ops, session: Session, results: readonly MachineResult[]): MachineResult[] {
  for (const result of results) {
    session.journal({
      event: 'machine.result',
      machine: result.machine,
      result: result.outcome,
      data: result.reason ?? null,
    })
    ops.events.emit({ kind: 'done', machine: result.machine, result })
  }
  return [...results].sort((a, b) => a.machine.localeCompare(b.machine, 'en', { numeric: true }))
}

function verdict(results: readonly MachineResult[]): string {
  const bad = results.filter((result) => result.outcome === 'failed' || result.outcome === 'degraded')
  return bad.length === 0 ? 'done' : `failed on ${bad.map((result) => result.machine).join(', ')}`
}
