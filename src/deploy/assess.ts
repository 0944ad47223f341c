import { failure, messageOf, OpsError } from '../core/errors.js'
import type { WantedImage } from '../core/image.js'
import type { StorePath } from '../core/names.js'
import type { PlanItem } from '../core/plan.js'
import type { Observation, ResourceChange } from '../core/provider.js'
import { refuseMissingOwners } from '../keys/key-owners.js'
import { connect } from '../machine/connect.js'
import { missingImage, recordOf, resourceFor } from '../machine/machine.js'
import { activationDue, type Job } from './job.js'
import type { MachineState } from './look.js'
import { lookToChange } from './refuse-machine.js'

/** State of one machine before anything is touched. */
export interface Assessment {
  readonly observation: Observation
  readonly changes: readonly ResourceChange[]
  /** Base image that must be built first. */
  readonly missingImage: WantedImage | undefined
  /** Closure that the machine is to have. */
  readonly wanted: StorePath | undefined
  /** State of the machine itself, if the machine runs and answered. */
  readonly look: MachineState | undefined
  /** Plan items about the wanted closure, which the look alone does not provide. */
  readonly differences?: readonly PlanItem[]
  /** Reason why a running machine has no `look`. */
  readonly unreachable: string | undefined
}

/** Inspects the resource of one machine; then, if the machine runs, the machine itself over one connection. */
export async function assess(job: Job): Promise<Assessment> {
  const resource = await resourceFor(job)
  const observation = await job.provider.inspect(resource, job.run)
  refuseForeign(job, observation)
  const changes = await job.provider.plan(resource, job.run)
  const wanted = job.request.closures.get(job.machine) ?? job.definition.outPath
  const base = { observation, changes, missingImage: await imageToMake(job, changes), wanted }
  if (observation.kind === 'unknown' && !job.provider.makesMachines) {
    return { ...base, look: undefined, unreachable: observation.reason }
  }
  if (observation.kind !== 'running') return { ...base, look: undefined, unreachable: undefined }
  const seen = { ...base, ...(await tryLook(job)) }
  refuseKeysThatStayUnowned(job, seen)
  return seen.look === undefined ? seen : { ...seen, ...(await compared(job, seen.look, wanted)) }
}

/** Compares the wanted closure with the machine, so that the plan announces a reboot before the activation. */
async function compared(
  job: Job,
  look: MachineState,
  wanted: StorePath | undefined,
): Promise<Pick<Assessment, 'look' | 'differences'>> {
  const due = wanted !== undefined && activationDue(job, look.survey.profile, wanted)
  const found = due ? await look.system.compare?.(job, wanted) : undefined
  if (found === undefined) return { look, differences: [] }
  const survey = { ...look.survey, rebootReason: found.rebootReason }
  return { look: { ...look, survey }, differences: found.items }
}

/**
 * Returns an image that must exist before a machine is created or recreated. A recreated machine needs
 * the image of its definition, not the image of its first creation.
 */
async function imageToMake(job: Job, changes: readonly ResourceChange[]): Promise<WantedImage | undefined> {
  const isNew = recordOf(job).handle === undefined
  const again = job.request.allowRecreate && changes.some(({ needs }) => needs === 'recreate')
  return isNew || again ? missingImage(job) : undefined
}

async function tryLook(job: Job): Promise<Pick<Assessment, 'look' | 'unreachable'>> {
  try {
    await connect(job)
  } catch (error) {
    // The machine may still boot or be off the network. The plan says so, and `reach` waits for the machine later.
    if (error instanceof OpsError && error.code === 'UNREACHABLE')
      return { look: undefined, unreachable: messageOf(error) }
    throw error
  }
  return { look: await lookToChange(job), unreachable: undefined }
}

function refuseForeign(job: Job, observation: Observation): void {
  if (observation.kind === 'foreign') {
    throw failure(
      'FOREIGN',
      `machine '${job.machine}': ${observation.what} exists and does not belong to this deployment; it was not touched`,
      {
        machine: job.machine,
        hint: 'rename or remove that resource, then deploy again',
      },
    )
  }
  if (observation.kind === 'unknown' && job.provider.makesMachines) {
    throw failure(
      'PROVIDER',
      `machine '${job.machine}': ${job.provider.name} cannot determine its state: ${observation.reason}`,
      {
        machine: job.machine,
        hint: 'hydra-ops doctor',
      },
    )
  }
}

/**
 * Refuses keys without an existing owner before anything is written, unless this deploy may create users. Activations,
 * tasks and packages may do so; the delivery after the activation then decides.
 */
function refuseKeysThatStayUnowned(job: Job, { look, wanted, changes }: Assessment): void {
  if (look === undefined || job.request.until !== undefined) return
  const mayMakeUsers =
    changes.some((change) => change.needs === 'recreate') ||
    activationDue(job, look.survey.profile, wanted) ||
    look.system.missing.length > 0 ||
    look.tasks.some((task) => task.why !== undefined)
  if (!mayMakeUsers) refuseMissingOwners(job.machine, look.keys)
}
