import { isForOperator } from '../core/builder-options.js'
import type { Ops, RunLogs } from '../core/context.js'
import type { NetworkDefinition } from '../core/definition.js'
import { exitCodes, interrupted, messageOf, OpsError } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import type { MachineName } from '../core/names.js'
import type { Plan } from '../core/plan.js'
import type { Run } from '../core/run.js'
import type { DeploymentSession } from '../core/session.js'
import { draftSession } from '../machine/draft-session.js'
import { ensureLoginKey } from '../machine/lifecycle.js'
import { closeJob } from '../machine/machine.js'
import { ensureBuilderKey, syncOperatorBuilders } from '../machine/operator-builders.js'
import { announceResults, failuresIn, recordResults, unfinishedIn, verdict } from '../machine/results.js'
import { dryRunSession } from '../machine/session.js'
import { definitionIn, evaluateNames, evaluateNetwork } from '../network/evaluate.js'
import { jobsNotices } from '../network/jobs/check.js'
import { evaluateImages } from '../network/nixos-images.js'
import { assessAll, type PlannedMachine } from './assess-all.js'
import { type AssessedMachine, buildEverything } from './build-everything.js'
import { chooseMachines, choosesSome } from './choose-machines.js'
import { withHydraBuilds } from './from-hydra.js'
import { type Job, newJob } from './job.js'
import { joinMachines } from './join.js'
import { killObsolete } from './kill-obsolete.js'
import { inOrder } from './ordering.js'
import { deployMachine } from './pipeline.js'
import { makePlan } from './plan.js'
import { refuseFlags } from './refuse-flags.js'
import type { DeployReport, DeployRequest } from './request.js'
import { rollbackAll } from './rollback-all.js'

/**
 * Runs the deploy pipeline: evaluate, inspect, plan, confirm, build everything, and only then work on machines. A dry
 * run stops after the plan and writes nothing anywhere. A deploy does not write the state before the user confirms the
 * plan. The record of a machine changes only when work on that machine begins.
 */
export async function deploy(ops: Ops, request: DeployRequest): Promise<DeployReport> {
  const known = await ops.store.resolve(request.deployment)
  if (request.dryRun) return deployIn(ops, dryRunSession(ops.files, known), request, undefined)
  return ops.store.lock(known.uuid, async (held) => {
    const deployment = draftSession(held)
    const logs = ops.logs(deployment.paths.logs)
    logs.hold()
    try {
      return await deployIn(ops, deployment, request, logs)
    } catch (error) {
      if (deployment.begun) await deployment.journal({ event: 'deploy.end', result: messageOf(error) })
      logFailure(logs, error)
      throw withWhatGoesOn(deployment, error)
    } finally {
      logs.close()
    }
  })
}

/**
 * Writes the log with the error as its last line, even for an early error. Otherwise `hydra-ops logs` would show an
 * earlier run. A usage error, a refused plan or an interruption leaves no log, because the screen shows the whole
 * error.
 */
function logFailure(logs: RunLogs, error: unknown): void {
  const onScreenAlone =
    error instanceof OpsError && (leavesNoLog.has(error.code) || error.exitCode === exitCodes.usage)
  if (!onScreenAlone) logs.release()
  logs.append(undefined, `failed: ${messageOf(error)}`)
}

const leavesNoLog = new Set(['INTERRUPTED', 'REFUSED'])

/**
 * Logs the failure of each machine, even if the deploy was only meant to build. Evidence follows unless it is the end of
 * the log itself.
 */
function logFailures(logs: RunLogs | undefined, results: readonly MachineResult[]): void {
  for (const { machine, outcome, stage, reason, evidence = [] } of failuresIn(results)) {
    const logged = new Set(logs?.tail(machine, evidence.length))
    logs?.release()
    logs?.append(machine, `${outcome} at ${stage ?? 'deploy'}: ${reason ?? 'the reason is unknown'}`)
    for (const line of evidence) if (!logged.has(line)) logs?.append(machine, `  ${line}`)
  }
}

/** Adds the activations that continue on the machines to the error for Ctrl-C. */
function withWhatGoesOn(deployment: DeploymentSession, error: unknown): unknown {
  if (!(error instanceof OpsError) || error.code !== 'INTERRUPTED') return error
  const going = Object.entries(deployment.record.machines).flatMap(([name, { activation }]) =>
    activation === undefined ? [] : [`${name} (${activation.unit})`],
  )
  if (going.length === 0) return error
  return interrupted(`${error.message}; the activation continues on ${going.join(', ')}`, {
    cause: error,
    hint: 'hydra-ops deploy reads the result of that activation',
  })
}

async function deployIn(
  ops: Ops,
  deployment: DeploymentSession,
  asked: DeployRequest,
  logs: RunLogs | undefined,
): Promise<DeployReport> {
  const run: Run = {
    signal: ops.signal,
    log: (line) => {
      logs?.append(undefined, line)
      ops.events.emit({ kind: 'line', machine: undefined, line })
    },
  }
  // Closures that a Hydra built need no local evaluation.
  const evaluate = asked.fromHydra === undefined ? evaluateNetwork : evaluateNames
  const network = await evaluate(
    ops,
    deployment,
    {
      args: asked.args,
      searchPath: asked.searchPath,
      nix: asked.nix,
      select: choosesSome(asked)
        ? (shape) => chooseMachines(deployment.record, shape, asked).wanted
        : undefined,
    },
    run,
  )
  const { wanted, obsolete } = chooseMachines(deployment.record, network, asked)
  const request = await withHydraBuilds(ops, deployment.record, network, { request: asked, wanted })
  noticeBroken(ops, network)
  for (const text of await jobsNotices(ops, deployment.record, network))
    ops.events.emit({ kind: 'notice', text })
  refuseFlags(network, wanted, request)
  const definitions = wanted.map((name) => definitionIn(network, name))
  const { args, searchPath, nix, allowRecreate: existing } = request
  const images = await evaluateImages(ops, deployment, { args, searchPath, nix, existing }, definitions, run)
  const jobs = definitions.map((definition) => {
    const nixosImage = images.get(definition.name)
    return newJob({ ops, deployment, request, network, definition, nixosImage }, logs)
  })
  try {
    const assessed = await assessAll(jobs, request.maxConcurrent)
    const plan = makePlan(assessed, obsolete, request)
    request.onPlan(plan, deployment.record)
    if (request.dryRun) {
      return { deployment: deployment.record, plan, results: assessed.flatMap(({ failed }) => failed ?? []) }
    }
    await confirmDisruption(ops, plan, request)
    if (request.until !== 'build') {
      await deployment.begin({ event: 'deploy.begin', data: jobs.map((job) => job.machine) })
      logs?.release()
    }
    const results = await apply(ops, deployment, assessed, { obsolete, request, network, run, logs })
    await deployment.journal({ event: 'deploy.end', result: verdict(results) })
    logFailures(logs, results)
    return { deployment: deployment.record, plan, results }
  } finally {
    for (const job of jobs) closeJob(job)
  }
}

/** Announces broken machines that are not selected; a broken machine that is selected ends the deploy. */
function noticeBroken(ops: Ops, network: NetworkDefinition): void {
  for (const error of network.failed?.values() ?? []) {
    ops.events.emit({
      kind: 'notice',
      text: `a broken machine is ignored, because it is not selected: ${messageOf(error)}`,
    })
  }
}

async function confirmDisruption(ops: Ops, plan: Plan, request: DeployRequest): Promise<void> {
  if (!plan.disruptive || request.yes) return
  if (await ops.questions.confirm('the plan destroys, recreates, restarts or reboots machines. Continue?'))
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
  deployment: DeploymentSession,
  assessed: readonly PlannedMachine[],
  how: Applying,
): Promise<MachineResult[]> {
  const { until } = how.request
  const results: MachineResult[] = assessed.flatMap(({ failed }) => failed ?? [])
  // The results are recorded now, because a failed build ends the deploy.
  await recordResults(deployment, results)
  const ready = assessed.flatMap(({ job, seen }) => (seen === undefined ? [] : [{ job, seen }]))
  const built = await buildEverything(ops, deployment, ready, how.request, how.run)
  results.push(...built.failures)
  const failed = new Set(results.map((result) => result.machine))
  const broken = assessed.flatMap(({ job }) => (failed.has(job.machine) ? [job] : []))
  results.push(
    ...(until === 'build'
      ? built.ready.map(onlyBuilt)
      : await work(ops, deployment, built.ready, { ...how, broken })),
  )
  // The success of a partial deploy proves nothing about a complete deploy.
  const whole = until === undefined && how.request.mode === 'switch'
  await recordResults(deployment, whole ? results : unfinishedIn(results))
  return announceResults(ops, deployment, results)
}

function onlyBuilt({ job }: AssessedMachine): MachineResult {
  return { machine: job.machine, outcome: 'unchanged', seconds: 0 }
}

/** Commits the network, destroys obsolete machines if requested, and deploys the other machines. */
async function work(
  ops: Ops,
  deployment: DeploymentSession,
  ready: readonly AssessedMachine[],
  { request, obsolete, network, run, logs, broken }: Applying & { readonly broken: readonly Job[] },
): Promise<MachineResult[]> {
  // A dry activation does not change the recorded network.
  if (request.mode !== 'dry-activate') await deployment.commitNetwork()
  const killed = request.killObsolete
    ? await killObsolete(ops, deployment, obsolete, { drain: request.drain, logs })
    : []
  await ensureLoginKey(ready.map(({ job }) => job))
  const forOperator = [...network.machines.values()].some(({ options }) => isForOperator(options.builder))
  if (ready.some(({ job }) => isForOperator(job.definition.options.builder)))
    await ensureBuilderKey(ops, deployment.record, run)
  const { maxConcurrent: limit, keepGoingGroups: keepGoing, onFailure } = request
  const ordering = { tags: network.ordering, limit, broken, keepGoing, stop: onFailure !== 'continue' }
  const alone = await inOrder(ready, ordering, ({ job, seen }) => deployMachine(job, seen, logs))
  const deployed = await joinMachines(ready, alone, { limit, logs })
  await syncOperatorBuilders(ops, deployment.record, forOperator, run)
  if (onFailure !== 'rollback-all') return [...killed, ...deployed]
  const jobs = ready.map(({ job }) => job)
  const before = broken.map(({ machine }) => machine)
  return [...killed, ...(await rollbackAll(jobs, deployed, { limit, before }))]
}
