import type { RunLogs } from '../core/context.js'
import { failure } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
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
import type { Activated } from '../systems/system.js'
import { systemOf } from '../systems/systems.js'
import type { Assessment } from './assess.js'
import { copyClosure } from './copy-closure.js'
import { bootstrap, deliverTasks } from './delivery.js'
import { runChecks } from './health.js'
import { activationDue, alwaysActivates, enter, type Job } from './job.js'
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
    return {
      machine: job.machine,
      outcome: job.changed ? 'changed' : 'unchanged',
      seconds: secondsSince(start),
    }
  } catch (error) {
    const why = await explained(job.ops, error, job.provider.name)
    return failedResult(job.machine, job.at, secondsSince(start), why, logs?.tail(job.machine, 10) ?? [])
  } finally {
    closeJob(job)
  }
}

async function stages(job: Job, seen: Assessment): Promise<void> {
  await provision(job, seen)
  if (job.request.until === 'create') return
  let look = await reach(job, seen)
  // An earlier activation may end after our look, and its work need not be done again.
  if (await systemOf(job.definition).reattach(job)) look = await lookAt(job)
  await checks(job, 'preDeployChecks')

  enter(job, 'bootstrap')
  if (await bootstrap(job, look)) look = await lookAt(job)
  if (await deliverTasks(job, 'bootstrap', look)) look = await lookAtLaterTasks(job, look)

  const wanted = seen.wanted
  if (wanted === undefined) throw failure('NO_CLOSURE', `machine '${job.machine}' has no closure to deploy`)
  enter(job, 'copy')
  if (look.survey.profile !== wanted || recordOf(job).unfinishedCopy !== undefined || job.request.check) {
    await copyClosure(job, wanted, look.survey)
  }
  if (job.request.until === 'copy') return
  look = await deliver(job, look, wanted)

  await job.ops.nix.root(job.deployment.paths.gcroots, job.machine, wanted, job.run)

  enter(job, 'health')
  await checks(job, 'healthChecks')
  enter(job, 'record')
  await record(job, wanted, look)
}

async function provision(job: Job, seen: Assessment): Promise<void> {
  enter(job, 'create')
  const known = recordOf(job)
  if (seen.changes.length > 0 || known.handle === undefined || known.intent !== undefined) {
    await createResource(job, seen.changes, {
      allowRestart: job.request.allowReboot,
      allowRecreate: job.request.allowRecreate,
    })
  }
  enter(job, 'start')
  const running =
    seen.observation.kind === 'running' && !seen.changes.some((change) => change.needs === 'recreate')
  const restart = seen.changes.some((change) => change.needs === 'restart')
  if (!running && job.provider.makesMachines) {
    closeJob(job)
    await startResource(job)
  } else if (restart && job.request.allowReboot) {
    closeJob(job)
    await restartResource(job)
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

/** Delivers keys, closure and tasks in the order of their dependencies; returns the latest look. */
async function deliver(job: Job, before: MachineState, wanted: StorePath): Promise<MachineState> {
  let look = before
  enter(job, 'keys')
  await placeKeys(job, 'pre-activation', look.keys)
  enter(job, 'activate')
  const always = alwaysActivates(job)
  const due = activationDue(job, look.survey.profile, wanted)
  // The activation may leave something to a task only if a task is about to run.
  const beforeTasks = look.tasks.some(({ task, why }) => task.stage === 'configure' && why !== undefined)
  const first = due
    ? await systemOf(job.definition).activate(job, wanted, { always, beforeTasks, again: false })
    : undefined
  if (first !== undefined) look = withRebootOf(await lookAtUndoneTasks(job, look, first), first)
  enter(job, 'setup')
  const unjudged = first?.kind === 'unjudged' ? first : undefined
  await deliverTasks(job, 'bootstrap', look, { unjudged })
  await deliverTasks(job, 'configure', look, { unjudged })
  if (unjudged !== undefined) {
    enter(job, 'activate', 'files and units that waited for a set-up task, or failed before the tasks')
    const second = await systemOf(job.definition).activate(job, wanted, {
      always,
      beforeTasks: false,
      again: true,
    })
    look = withRebootOf(look, second)
  }
  enter(job, 'keys')
  await finishKeys(job, look.keys)
  return rebootIfWanted(job, look, wanted)
}

/** Adds the reboot that an activation asks for; the look before the activation cannot know it. */
function withRebootOf(look: MachineState, { rebootReason: reason }: Activated): MachineState {
  return reason === undefined ? look : { ...look, survey: { ...look.survey, rebootReason: reason } }
}

async function rebootIfWanted(job: Job, look: MachineState, wanted: StorePath): Promise<MachineState> {
  if (rebootReason(job.request, look) === undefined) return look
  await rebootMachine(job)
  const again = await lookAt(job)
  if (again.survey.profile !== wanted) {
    throw failure('REBOOT', `machine '${job.machine}' came up with another system than the deployed one`, {
      machine: job.machine,
      hint: `hydra-ops console ${job.machine} --log`,
    })
  }
  await finishKeys(job, again.keys)
  return again
}

async function checks(job: Job, kind: 'preDeployChecks' | 'healthChecks'): Promise<void> {
  const failures = await runChecks(kind, job.definition.options[kind], {
    host: hostOf(job),
    machine: job.machine,
    run: job.run,
  })
  if (failures.length === 0) return
  const what = kind === 'healthChecks' ? 'health check' : 'check before the deploy'
  throw failure(
    'HEALTH',
    `machine '${job.machine}': ${what} failed: ${failures.map((each) => each.check).join(', ')}`,
    {
      machine: job.machine,
      detail: failures.map((each) => each.detail).join('\n'),
    },
  )
}

async function record(job: Job, wanted: StorePath, look: MachineState): Promise<void> {
  const known = recordOf(job)
  const seenAt = job.ops.now().toISOString()
  const sameClosure = known.deployed?.path === wanted
  // An unchanged machine causes no write, because its record already holds all these facts.
  if (!job.changed && sameClosure && known.facts.bootId === look.survey.bootId) return
  await updateJob(job, (draft) => {
    draft.facts = { ...look.survey.facts, nixVersion: draft.tasks.nix?.outputs.version, seenAt }
    if (!sameClosure || job.changed) {
      draft.deployed = {
        path: wanted,
        at: seenAt,
        run: job.ops.operator.run,
        ...contentsOf(job, wanted),
      }
    }
  })
}
