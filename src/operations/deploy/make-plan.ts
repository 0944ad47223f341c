import type { MachineName } from '../../core/names.js'
import type { MachinePlan, Plan } from '../../core/plan.js'
import { settleAll } from '../../core/settle.js'
import type { Assessment } from './assess.js'
import type { Assessed } from './assess-all.js'
import type { Job } from './job.js'
import { planMachine, rebootReason } from './plan-machine.js'
import type { DeployRequest } from './request.js'

/** What a deploy would do, machine by machine, and whether it takes a yes. */
export async function makePlan(
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
  if (rebootReason(job.request, seen.look) !== undefined) return true
  const running = seen.observation.kind === 'running'
  return seen.changes.some(
    (change) =>
      ((change.needs === 'recreate' || change.needs === 'new-disk') && allowRecreate) ||
      (change.needs === 'restart' && running && allowReboot),
  )
}
