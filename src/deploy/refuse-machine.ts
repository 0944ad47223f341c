import { failure } from '../core/errors.js'
import { hostOf } from '../machine/connect.js'
import { type DefinedMachine, type MachineSession, recordOf } from '../machine/machine.js'
import type { Survey, System } from '../systems/system.js'
import { systemOf } from '../systems/systems.js'
import type { Job } from './job.js'
import { lookAt, type MachineState } from './look.js'

/** Looks at a machine that is about to change, and refuses a machine that this deployment must not change. */
export async function lookToChange(job: Job): Promise<MachineState> {
  const look = await lookAt(job).catch((error: unknown) => refuseFailed(job, error))
  refuseMachine(job, look.survey)
  await refuseUnknownSystem(job, look.survey)
  return look
}

/**
 * Refuses to replace a system that this deployment did not record and that the operator's store lacks. Another tool has
 * switched the machine. A guest that was never deployed has the system of its image.
 */
async function refuseUnknownSystem(job: Job, { running, previous, owner }: Survey): Promise<void> {
  if (running === undefined || job.request.replaceUnknown) return
  const { deployed, activation } = recordOf(job)
  if (deployed === undefined && job.provider.makesMachines) return
  const wanted = job.request.closures.get(job.machine) ?? job.definition.outPath
  const ours = owner === job.deployment.record.uuid ? [previous] : []
  if ([wanted, deployed?.path, activation?.path, ...ours].includes(running)) return
  if (await job.ops.nix.isBuilt(running)) return
  throw failure(
    'UNKNOWN_SYSTEM',
    `machine '${job.machine}' runs a system that neither this deployment nor this host knows: ${running}; it was not touched`,
    {
      machine: job.machine,
      hint: 'deploy with --replace-unknown if that system may be replaced; hydra-ops rollback brings it back',
    },
  )
}

/**
 * Explains a failed look. Another system may lack a program, for instance, and the bare error would explain nothing.
 */
async function refuseFailed(job: Job, error: unknown): Promise<never> {
  const survey = await systemOf(job.definition)
    .survey(hostOf(job), job.run)
    .catch(() => undefined)
  if (survey !== undefined) refuseMachine(job, survey)
  throw error
}

/** Refuses a machine that this deployment must not change, before anything is touched. */
export function refuseMachine(session: DefinedMachine, survey: Survey): void {
  const system = systemOf(session.definition)
  system.refuseOther(session, survey)
  refuseOtherOwner(session, system, survey)
}

/**
 * Refuses a host of another deployment; each deployment would otherwise remove the files and units of the other
 * deployment.
 */
export function refuseOtherOwner(
  session: MachineSession,
  { ownerFile }: Pick<System, 'ownerFile'>,
  { owner }: Survey,
): void {
  const { machine } = session
  if (owner === undefined || owner === session.deployment.record.uuid) return
  const { target } = hostOf(session)
  const asRoot = target.user === 'root' ? [] : target.privilegeEscalation
  const remove = ['hydra-ops ssh', machine, '--', ...asRoot, 'rm', ownerFile].join(' ')
  throw failure(
    'FOREIGN',
    `machine '${machine}' belongs to another deployment (${ownerFile} names ${owner}); it was not touched`,
    {
      machine,
      hint: `if that deployment no longer exists or no longer needs the machine, run ${remove}. The next deploy then takes the machine over, and removes what that deployment placed there`,
    },
  )
}
