import type { MachineName } from '../core/names.js'
import type { MachinePlan, Plan } from '../core/plan.js'
import type { Assessment } from './assess.js'
import type { PlannedMachine } from './assess-all.js'
import type { Job } from './job.js'
import { rebootReason } from './plan-machine.js'
import type { DeployRequest } from './request.js'

/** Plans the deploy machine by machine, and decides whether the plan needs a confirmation. */
export function makePlan(
  assessed: readonly PlannedMachine[],
  obsolete: readonly MachineName[],
  request: DeployRequest,
): Plan {
  const machines: MachinePlan[] = assessed.map(({ plan }) => plan)
  const note = request.killObsolete ? undefined : 'needs --kill-obsolete'
  for (const machine of obsolete) {
    machines.push({
      machine,
      items: [{ subject: 'machine', action: 'destroy', detail: 'obsolete: no longer in the network', note }],
    })
  }
  const kills = request.killObsolete && obsolete.length > 0
  return {
    machines,
    disruptive: kills || assessed.some(({ seen, job }) => seen !== undefined && disrupts(seen, job)),
  }
}

function disrupts(seen: Assessment, job: Job): boolean {
  const { allowReboot, allowRecreate } = job.request
  if (job.request.mode === 'dry-activate') return false
  if (rebootReason(job.request, seen.look) !== undefined) return true
  const running = seen.observation.kind === 'running'
  return seen.changes.some(
    (change) =>
      ((change.needs === 'recreate' || change.needs === 'new-disk') && allowRecreate) ||
      (change.needs === 'restart' && running && allowReboot),
  )
}
