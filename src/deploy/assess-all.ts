import pLimit from 'p-limit'
import { exitCodes, OpsError, throwIfAborted } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import type { MachinePlan } from '../core/plan.js'
import { settleAll } from '../core/settle.js'
import { explained } from '../machine/explain-failure.js'
import { failedResult, secondsSince } from '../machine/finish.js'
import { restConnection } from '../machine/resting-host.js'
import { type Assessment, assess } from './assess.js'
import type { Job } from './job.js'
import { planMachine } from './plan-machine.js'

/** One machine with what was seen of it and is to be done, or why nothing could be seen. */
export interface PlannedMachine {
  readonly job: Job
  readonly plan: MachinePlan
  readonly seen: Assessment | undefined
  readonly failed: MachineResult | undefined
}

/** Looks at every machine and plans it, at most `limit` at once; no connection stays open. */
export function assessAll(jobs: readonly Job[], limit: number): Promise<PlannedMachine[]> {
  const slots = pLimit(limit)
  return settleAll(jobs.map((job) => slots(() => assessOne(job))))
}

async function assessOne(job: Job): Promise<PlannedMachine> {
  const start = Date.now()
  throwIfAborted(job.run.signal)
  try {
    const seen = await assess(job)
    return { job, plan: await planMachine(job, seen), seen, failed: undefined }
  } catch (error) {
    // A definition that cannot be met (a disk that shrinks) is a mistake in the expression: nothing is touched anywhere.
    if (error instanceof OpsError && error.exitCode === exitCodes.usage) throw error
    const why = await explained(job.ops, error)
    const failed = failedResult(job.machine, 'inspect', secondsSince(start), why, [])
    const plan = { machine: job.machine, items: [], unknown: failed.reason ?? 'unknown' }
    return { job, plan, seen: undefined, failed }
  } finally {
    restConnection(job)
  }
}
