import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { failure, usageError } from '../core/errors.js'
import type { HydraUserAdmin } from '../core/hydra-user-admin.js'
import { MachineName } from '../core/names.js'
import type { Run } from '../core/run.js'
import type { DeploymentSession } from '../core/session.js'
import { suggest } from '../core/suggest.js'
import { type Job, newJob } from '../deploy/job.js'
import { taskMachineOf } from '../deploy/look.js'
import { refuseMachine } from '../deploy/refuse-machine.js'
import { plainDeploy } from '../deploy/request.js'
import { connect, hostOf } from '../machine/connect.js'
import { closeJob, machineRun } from '../machine/machine.js'
import { dryRunSession } from '../machine/session.js'
import { definitionIn } from '../network/evaluate.js'
import { systemOf } from '../systems/systems.js'
import { networkOnce } from './send-keys.js'

/** Choice of a deployed Hydra. */
export interface HydraRequest {
  readonly deployment: string | undefined
  /** Machine; required if the deployment has several Hydras. */
  readonly machine: string | undefined
}

/** A deployed Hydra, with an open connection to its machine. */
export interface OpenHydra {
  readonly job: Job
  readonly users: HydraUserAdmin
}

/** Reads from a Hydra without a lock and without a log. */
export async function lookAtHydra<T>(
  ops: Ops,
  request: HydraRequest,
  action: (hydra: OpenHydra) => Promise<T>,
): Promise<T> {
  const deployment = dryRunSession(ops.files, await ops.store.resolve(request.deployment))
  const machine = hydraMachine(deployment.record, request.machine)
  return withHydra(ops, deployment, { machine, run: { signal: ops.signal, log: () => {} } }, action)
}

/** Changes a Hydra as the only writer of its deployment; progress goes to the log of the run. */
export async function changeHydra<T>(
  ops: Ops,
  request: HydraRequest,
  action: (hydra: OpenHydra) => Promise<T>,
): Promise<T> {
  const { uuid } = await ops.store.resolve(request.deployment)
  return ops.store.lock(uuid, async (deployment) => {
    const machine = hydraMachine(deployment.record, request.machine)
    const logs = ops.logs(deployment.paths.logs)
    try {
      return await withHydra(
        ops,
        deployment,
        { machine, run: machineRun(ops, machine, logs) },
        async (hydra) => {
          const { survey } = systemOf(hydra.job.definition)
          refuseMachine(hydra.job, await survey(hostOf(hydra.job), hydra.job.run))
          return action(hydra)
        },
      )
    } finally {
      logs.close()
    }
  })
}

async function withHydra<T>(
  ops: Ops,
  deployment: DeploymentSession,
  { machine, run }: { readonly machine: MachineName; readonly run: Run },
  action: (hydra: OpenHydra) => Promise<T>,
): Promise<T> {
  const definition = definitionIn(await networkOnce(ops)(deployment, run), machine)
  const job: Job = { ...newJob({ ops, deployment, request: plainDeploy, definition }, undefined), run }
  const deployed = deployment.record.machines[machine]?.tasks.hydra?.outputs.package
  const users = await ops.hydraUsers(taskMachineOf(job), deployed === '' ? undefined : deployed)
  if (users === undefined)
    throw failure('NO_HYDRA', `machine '${machine}' no longer has a Hydra in its definition`, {
      machine,
      hint: 'deployment.hydra.enable is false in the network expression',
    })
  try {
    await connect(job)
    return await action({ job, users })
  } finally {
    closeJob(job)
  }
}

/** Returns the machine with the deployed Hydra. */
function hydraMachine(record: DeploymentRecord, wanted: string | undefined): MachineName {
  const machines = Object.entries(record.machines)
  const hydras = machines.filter(([, { tasks }]) => tasks.hydra !== undefined).map(([name]) => name)
  const list = hydras.join(', ')
  if (wanted !== undefined && !hydras.includes(wanted)) {
    const close = suggest(wanted, hydras)
    const known = machines.some(([name]) => name === wanted)
    throw usageError(known ? `machine '${wanted}' has no Hydra yet` : `there is no machine '${wanted}'`, {
      hint:
        close === undefined
          ? `these machines have a Hydra: ${list || 'none yet'}`
          : `did you mean '${close}'?`,
    })
  }
  const [first, ...others] = wanted === undefined ? hydras : [wanted]
  if (first === undefined) throw noHydra(record)
  if (others.length > 0)
    throw usageError('there is more than one Hydra', { hint: `select one with --machine NAME (${list})` })
  return MachineName.parse(first)
}

export function noHydra(record: DeploymentRecord): Error {
  return failure('NO_HYDRA', `${nameOf(record)} has no Hydra yet`, {
    hint: 'set deployment.hydra.enable = true, then run hydra-ops deploy',
  })
}

export function nameOf(record: DeploymentRecord): string {
  return `deployment '${record.name ?? record.uuid.slice(0, 8)}'`
}
