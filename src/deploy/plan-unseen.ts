import type { MachineRecord } from '../core/deployment.js'
import type { PlanItem } from '../core/plan.js'
import { keyPath, planKeys } from '../keys/keys.js'
import { recordOf } from '../machine/machine.js'
import { systemOf } from '../systems/systems.js'
import { planTasks, reasonByRecord } from '../tasks/engine.js'
import type { Assessment } from './assess.js'
import type { Job } from './job.js'
import { taskContext, wantedTasks } from './look.js'

/**
 * Returns the record of a machine if the record is still valid. Returns undefined for a machine that is gone or will be
 * recreated.
 */
export function remembered(job: Job, { look, observation, changes }: Assessment): MachineRecord | undefined {
  if (look !== undefined) return recordOf(job)
  const isNew = observation.kind === 'absent' || changes.some((change) => change.needs === 'recreate')
  return isNew ? undefined : recordOf(job)
}

/** Plans the work on a machine that is down, from its record; a new machine needs everything. */
export async function unseenItems(job: Job, seen: Assessment): Promise<PlanItem[]> {
  const record = remembered(job, seen)
  const tasks = await wantedTasks(job)
  const context = tasks.length === 0 ? undefined : await taskContext(job)
  return [
    ...systemOf(job.definition).planUnseen(job.definition, record?.deployed, seen.wanted),
    ...planTasks(
      tasks.map((task) => ({
        task,
        why:
          context === undefined
            ? undefined
            : reasonByRecord(task, { ...context, records: record?.tasks ?? {} }),
      })),
    ),
    ...keyItems(job, record?.keys ?? {}),
  ]
}

/** Plans the keys of a machine that is down; its next boot removes the keys in /run. */
function keyItems(job: Job, recorded: Readonly<Record<string, string>>): PlanItem[] {
  const wanted = Object.entries(job.definition.options.keys).map(([name, key]) => {
    const path = keyPath(name, key)
    const kept = recorded[name] === path && !path.startsWith('/run/')
    return {
      key: { name, path },
      state: kept ? ('same' as const) : ('missing' as const),
      unitDiffers: false,
      shut: false,
      missingOwner: undefined,
    }
  })
  return planKeys(wanted, recorded)
}
