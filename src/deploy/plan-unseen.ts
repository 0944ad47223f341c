import type { MachineRecord } from '../core/deployment.js'
import type { PlanItem } from '../core/plan.js'
import { keyPath, planKeys } from '../keys/keys.js'
import { recordOf } from '../machine/machine.js'
import { systemOf } from '../systems/systems.js'
import { planTasks, reasonByRecord } from '../tasks/engine.js'
import type { Assessment } from './assess.js'
import type { Job } from './job.js'
import { taskContext, wantedTasks } from './look.js'

/** What is recorded of a machine, where it still holds: not of one that is gone or will be made anew. */
export function remembered(job: Job, { look, observation, changes }: Assessment): MachineRecord | undefined {
  if (look !== undefined) return recordOf(job)
  const isNew = observation.kind === 'absent' || changes.some((change) => change.needs === 'recreate')
  return isNew ? undefined : recordOf(job)
}

/** Plans what the record of a machine lacks that is not up; everything is new to a new machine. */
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

/** What lay in /run is gone after the next boot. */
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
