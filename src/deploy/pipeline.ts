import type { RunLogs } from '../core/context.js'
import { failure, messageOf, OpsError } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import { sameJson } from '../core/json.js'
import type { StorePath } from '../core/names.js'
import { finishKeys, placeKeys } from '../keys/keys-stage.js'
import { bootMs, connect, hostOf, waitAndConnect } from '../machine/connect.js'
import { explained } from '../machine/explain-failure.js'
import { failedResult, secondsSince } from '../machine/finish.js'
import { growRootFilesystem } from '../machine/grow.js'
import { createResource, restartResource, startResource } from '../machine/lifecycle.js'
import { closeJob, recordOf, updateJob } from '../machine/machine.js'
import { rebootMachine } from '../machine/reboot.js'
import { commitAllocation } from '../network/allocate.js'
import type { Activated, Survey, Trial } from '../systems/system.js'
import { systemOf } from '../systems/systems.js'
import { aloneOnMachine } from '../tasks/machine-lock.js'
import { activatePart, lookToTry } from './activate-part.js'
import type { Assessment } from './assess.js'
import { copyClosure } from './copy-closure.js'
import { bootstrap, deliverTasks } from './delivery.js'
import { drainFirst, drainIfRunning, giveJobsBack, isAwaited, resumeIfUp } from './drain.js'
import { comesFromHydra, fetchClosure } from './fetch-closure.js'
import { runChecks } from './health.js'
import { activationDue, activationOptions, alwaysActivates, enter, type Job } from './job.js'
import { lookAt, lookAtLaterTasks, lookAtUndoneTasks, type MachineState } from './look.js'
import { contentsOf, rebootReason } from './plan-machine.js'
import { lookToChange } from './refuse-machine.js'

/** Takes one machine through every stage; a failure stops this machine only. */
export async function deployMachine(
  job: Job,
  seen: Assessment,
  logs: RunLogs | undefined,
): Promise<MachineResult> {
  const start = Date.now()
  try {
    if (seen.unreachable !== undefined && !job.provider.makesMachines && job.request.skipOffline) {
      return {
        machine: job.machine,
        outcome: 'skipped',
        seconds: secondsSince(start),
        reason: seen.unreachable,
      }
    }
    await commitAllocation(job)
    await stages(job, seen)
    if (isAwaited(job)) await giveJobsBack(job)
    return {
      machine: job.machine,
      outcome: job.changed ? 'changed' : 'unchanged',
      seconds: secondsSince(start),
    }
  } catch (error) {
    await resumeIfUp(job)
    const why = await explained(job.ops, error, job.provider.name)
    return failedResult(job.machine, job.at, secondsSince(start), why, logs?.tail(job.machine, 10) ?? [])
  } finally {
    closeJob(job)
  }
}

async function stages(job: Job, seen: Assessment): Promise<void> {
  const { mode } = job.request
  let look: MachineState
  if (mode === 'dry-activate') look = lookToTry(job, seen)
  else {
    await provision(job, seen)
    if (job.request.until === 'create') return
    look = await reach(job, seen)
  }
  // An earlier activation may end only after the look, and its work need not be repeated.
  if (mode !== 'dry-activate' && (await systemOf(job.definition).reattach(job))) look = await lookAt(job)
  await refuseBeforeDeploy(job)

  enter(job, 'bootstrap')
  if (await bootstrap(job, look)) look = await lookAt(job)
  if (await deliverTasks(job, 'bootstrap', look)) look = await lookAtLaterTasks(job, look)

  const wanted = seen.wanted
  if (wanted === undefined) throw failure('NO_CLOSURE', `machine '${job.machine}' has no closure to deploy`)
  enter(job, 'copy')
  if (look.survey.profile !== wanted || recordOf(job).unfinishedCopy !== undefined || job.request.check) {
    await bring(job, wanted, look.survey)
  }
  if (job.request.until === 'copy') return
  await whileLocked(job, look, wanted, () =>
    mode === 'switch' ? switchTo(job, look, wanted) : activatePart(job, look, wanted),
  )
}

/** Keeps other operators and the machine's automatic update from interfering with an activation and its checks. */
function whileLocked(
  job: Job,
  { survey }: MachineState,
  wanted: StorePath,
  action: () => Promise<void>,
): Promise<void> {
  const due = job.request.mode !== 'dry-activate' && activationDue(job, survey.profile, wanted)
  return due ? aloneOnMachine(job, action) : action()
}

async function switchTo(job: Job, look: MachineState, wanted: StorePath): Promise<void> {
  const delivered = await deliver(job, look, wanted)
  const judged = await unlessFailed(job, delivered, async () => {
    await protect(job, wanted)
    return judgeHealth(job, delivered, wanted)
  })
  enter(job, 'record')
  await record(job, wanted, judged.look)
  if (judged.degraded !== undefined) throw judged.degraded
}

/** Brings the closure to the machine: from this host, or from a Hydra's cache. */
function bring(job: Job, wanted: StorePath, survey: Survey): Promise<void> {
  return comesFromHydra(job) ? fetchClosure(job, wanted, survey) : copyClosure(job, wanted, survey)
}

/** Protects the closure from garbage collection on this host, if this host has the closure. */
async function protect(job: Job, wanted: StorePath): Promise<void> {
  if (comesFromHydra(job) && !(await job.ops.nix.isBuilt(wanted))) return
  await job.ops.nix.root(job.deployment.paths.gcroots, job.machine, wanted, job.run)
}

async function provision(job: Job, seen: Assessment): Promise<void> {
  enter(job, 'create')
  const known = recordOf(job)
  const { running, restart, recreates } = powerOf(seen)
  const { allowReboot, allowRecreate, drain } = job.request
  if (running && restart && allowReboot) await drainFirst(job, drain, { how: 'rebooted' })
  if (recreates && allowRecreate) await drainIfRunning(job, drain, { how: 'destroyed' })
  if (seen.changes.length > 0 || known.handle === undefined || known.intent !== undefined) {
    await createResource(job, seen.changes, {
      allowRestart: allowReboot,
      allowRecreate,
    })
  }
  enter(job, 'start')
  if (!running && job.provider.makesMachines) {
    closeJob(job)
    await startResource(job)
  } else if (restart && allowReboot) {
    closeJob(job)
    await restartResource(job)
  }
}

function powerOf({ observation, changes }: Assessment) {
  const recreates = changes.some((change) => change.needs === 'recreate')
  return {
    running: observation.kind === 'running' && !recreates,
    recreates,
    restart: changes.some((change) => change.needs === 'restart'),
  }
}

async function reach(job: Job, seen: Assessment): Promise<MachineState> {
  enter(job, 'reach')
  if (job.host !== undefined && seen.look !== undefined) {
    if (job.provider.makesMachines && seen.changes.length > 0) await growRootFilesystem(job)
    return seen.look
  }
  if (job.provider.makesMachines) await waitAndConnect(job, bootMs)
  else await connect(job)
  return lookToChange(job)
}

/** State of a machine after the delivery, before the health checks. */
interface Delivered {
  /** Latest look. */
  readonly look: MachineState
  /** System that `keep` still has to make the boot default. */
  readonly trial: Trial | undefined
  /** Fault to report at the end. */
  readonly degraded: OpsError | undefined
}

/** Delivers keys, closure and tasks in the order of their dependencies. */
async function deliver(job: Job, before: MachineState, wanted: StorePath): Promise<Delivered> {
  const system = systemOf(job.definition)
  let look = before
  enter(job, 'keys')
  await placeKeys(job, 'pre-activation', look.keys)
  enter(job, 'activate')
  const always = alwaysActivates(job)
  const due = activationDue(job, look.survey.profile, wanted)
  // The activation may leave something to a task only if a task is about to run.
  const beforeTasks = look.tasks.some(({ task, why }) => task.stage === 'configure' && why !== undefined)
  const options = { always, beforeTasks, again: false, ...activationOptions(job) }
  const first = due ? await switchFrom(job, look, () => system.activate(job, wanted, options)) : undefined
  return unlessFailed(job, first, async () => {
    if (first !== undefined) look = await lookAfter(job, look, first)
    enter(job, 'setup')
    const unjudged = first?.kind === 'unjudged' ? first : undefined
    await deliverTasks(job, 'bootstrap', look, { unjudged })
    await deliverTasks(job, 'configure', look, { unjudged })
    const last = unjudged === undefined ? first : await activateAgain(job, before, wanted, unjudged, always)
    if (last !== undefined) look = last.restarted === true ? await lookAt(job) : withRebootOf(look, last)
    return unlessFailed(job, last, async () => {
      enter(job, 'keys')
      await finishKeys(job, look.keys)
      return { look, trial: last?.trial, degraded: last?.degraded }
    })
  })
}

/** Remembers the system that a switch replaces, unless the switch itself rolls back. */
async function switchFrom<T>(job: Job, { survey }: MachineState, action: () => Promise<T>): Promise<T> {
  const { deployed } = recordOf(job)
  if (survey.running !== undefined) job.switchedFrom = { path: survey.running, deployed }
  try {
    return await action()
  } catch (error) {
    if (error instanceof OpsError && error.code === 'WENT_BACK') job.switchedFrom = undefined
    throw error
  }
}

async function activateAgain(
  job: Job,
  look: MachineState,
  wanted: StorePath,
  { trial: first }: Activated,
  always: boolean,
): Promise<Activated> {
  enter(job, 'activate', 'files and units that waited for a set-up task, or failed before the tasks')
  const options = { always, beforeTasks: false, again: true, first, ...activationOptions(job) }
  return switchFrom(job, look, () => systemOf(job.definition).activate(job, wanted, options))
}

/** Looks again at the state after the activation; a reboot clears keys and restarts everything. */
async function lookAfter(job: Job, look: MachineState, activated: Activated): Promise<MachineState> {
  if (activated.restarted === true) return lookAt(job)
  return withRebootOf(await lookAtUndoneTasks(job, look, activated), activated)
}

/** Adds the reboot that an activation requires, which the look before the activation cannot foresee. */
function withRebootOf(
  look: MachineState,
  { rebootReason: reason }: Pick<Activated, 'rebootReason'>,
): MachineState {
  return reason === undefined ? look : { ...look, survey: { ...look.survey, rebootReason: reason } }
}

/**
 * Runs the health checks, and ends the trial of the new system. A due reboot comes before the checks. The system is
 * kept before the reboot, because the machine then boots its default system.
 */
async function judgeHealth(
  job: Job,
  delivered: Delivered,
  wanted: StorePath,
): Promise<Omit<Delivered, 'trial'>> {
  const { trial, degraded } = delivered
  let { look } = delivered
  const reboots = rebootReason(job.request, look) !== undefined
  if (reboots) {
    look = await keep(job, look, trial)
    look = await reboot(job, wanted)
  }
  enter(job, 'health')
  const wrong = await failedChecks(job, 'healthChecks')
  const { goesBack } = systemOf(job.definition)
  if (wrong !== undefined && !goesBack) throw wrong.error
  const unkept = reboots ? undefined : trial
  if (wrong !== undefined && unkept !== undefined) await refuseUnhealthy(job, wrong, unkept)
  if (!reboots) {
    look = await keep(job, look, trial)
    if (trial !== undefined) noticeReboot(job, look)
  }
  return { look, degraded: degraded ?? (wrong && unhealthy(job, wrong, 'it is the boot default too')) }
}

function noticeReboot(job: Job, { survey: { rebootReason: reason } }: MachineState): void {
  if (reason === undefined) return
  const text = `machine '${job.machine}': ${reason}; run hydra-ops deploy --allow-reboot`
  job.ops.events.emit({ kind: 'notice', text })
}

/** Ends the trial of a system whose health checks failed, unless `--on-degraded keep` keeps the system. */
async function refuseUnhealthy(job: Job, wrong: FailedChecks, trial: Trial): Promise<void> {
  const { onDegraded } = job.request
  if (onDegraded === 'keep') return
  if (onDegraded === 'rollback') {
    job.switchedFrom = undefined
    await trial.goBack(wrong.what)
  }
  await trial.leave()
  throw unhealthy(job, wrong, 'the boot default stays the old one')
}

function unhealthy(job: Job, { what, error }: FailedChecks, boot: string): OpsError {
  return failure('DEGRADED', `machine '${job.machine}' runs the new system, but a ${what}; ${boot}`, {
    machine: job.machine,
    ...(error.detail === undefined ? {} : { detail: error.detail }),
    hint: 'repair the machine and deploy again; hydra-ops deploy --on-degraded rollback rolls back automatically',
  })
}

/** Ends the trial of a running system, and makes the system the boot default. */
async function keep(job: Job, look: MachineState, trial: Trial | undefined): Promise<MachineState> {
  if (trial === undefined) return look
  enter(job, 'activate', 'the system becomes the boot default')
  const { rebootReason: reason } = await trial.keep()
  return { ...look, survey: { ...look.survey, rebootReason: reason } }
}

/**
 * Runs the steps after an activation. A failure ends the trial; the new system then runs until the next boot. An
 * interruption leaves the trial open, and the next deploy ends it.
 */
async function unlessFailed<T>(
  job: Job,
  activated: { readonly trial?: Trial | undefined } | undefined,
  action: () => Promise<T>,
): Promise<T> {
  try {
    return await action()
  } catch (error) {
    const trial = recordOf(job).activation === undefined ? undefined : activated?.trial
    if (trial === undefined || job.run.signal.aborted) throw error
    await trial.leave().catch((second: unknown) => {
      job.run.log(`the activation could not be ended: ${messageOf(second)}; the next deploy ends it`)
    })
    throw error
  }
}

async function reboot(job: Job, wanted: StorePath): Promise<MachineState> {
  await drainFirst(job, job.request.drain, { how: 'rebooted' })
  await rebootMachine(job)
  const again = await lookAt(job)
  if (again.survey.profile !== wanted) {
    throw failure('REBOOT', `machine '${job.machine}' came up with a system other than the deployed one`, {
      machine: job.machine,
      hint: `hydra-ops console ${job.machine} --log`,
    })
  }
  await finishKeys(job, again.keys)
  return again
}

async function refuseBeforeDeploy(job: Job): Promise<void> {
  const wrong = await failedChecks(job, 'preDeployChecks')
  if (wrong !== undefined) throw wrong.error
}

interface FailedChecks {
  /** Phrase for messages: `health check failed: NAME`. */
  readonly what: string
  readonly error: OpsError
}

async function failedChecks(
  job: Job,
  kind: 'preDeployChecks' | 'healthChecks',
): Promise<FailedChecks | undefined> {
  const failures = await runChecks(kind, job.definition.options[kind], {
    host: hostOf(job),
    machine: job.machine,
    run: job.run,
  })
  if (failures.length === 0) return undefined
  const name = kind === 'healthChecks' ? 'health check' : 'check before the deploy'
  const what = `${name} failed: ${failures.map((each) => each.check).join(', ')}`
  const detail = failures.map((each) => each.detail).join('\n')
  const { machine } = job
  return { what, error: failure('HEALTH', `machine '${machine}': ${what}`, { machine, detail }) }
}

async function record(job: Job, wanted: StorePath, look: MachineState): Promise<void> {
  const known = recordOf(job)
  const seenAt = job.ops.now().toISOString()
  const origin = job.request.builds.get(job.machine)?.origin
  const sameOrigin = origin === undefined || sameJson(known.deployed?.hydra ?? null, origin)
  const sameClosure = known.deployed?.path === wanted && sameOrigin
  // An unchanged machine needs no write, because its record already holds all these facts.
  if (!job.changed && sameClosure && known.facts.bootId === look.survey.bootId) return
  await updateJob(job, (draft) => {
    draft.facts = { ...look.survey.facts, nixVersion: draft.tasks.nix?.outputs.version, seenAt }
    if (!sameClosure || job.changed) {
      draft.deployed = {
        path: wanted,
        at: seenAt,
        run: job.ops.operator.run,
        ...contentsOf(job, wanted),
        ...(origin === undefined ? {} : { hydra: origin }),
      }
    }
  })
}
