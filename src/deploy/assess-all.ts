import pLimit from 'p-limit'
import { exitCodes, OpsError, throwIfAborted } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import type { MachinePlan } from '../core/plan.js'
import { restEvery } from '../core/rest.js'
import { settleAll } from '../core/settle.js'
import { explained } from '../machine/explain-failure.js'
import { failedResult, secondsSince } from '../machine/finish.js'
import { restConnection } from '../machine/resting-host.js'
import { type Assessment, assess } from './assess.js'
import type { Job } from './job.js'
import { planMachine } from './plan-machine.js'

/** A machine with its assessment and its plan, or with the reason why the assessment failed. */
export interface PlannedMachine {
  readonly job: Job
  readonly plan: MachinePlan
  readonly seen: Assessment | undefined
  readonly failed: MachineResult | undefined
}

/** Assesses and plans every machine, at most `limit` at once; leaves no connection open. */
export function assessAll(jobs: readonly Job[], limit: number): Promise<PlannedMachine[]> {
  const slots = pLimit(limit)
  const rest = restEvery()
  return settleAll(
    jobs.map((job) =>
      slots(async () => {
        // A new machine is planned without I/O, so this pause gives other work a turn.
        await rest()
        return assessOne(job)
      }),
    ),
  )
}

async function assessOne(job: Job): Promise<PlannedMachine> {
  const start = Date.now()
  throwIfAborted(job.run.signal)
  try {
    const seen = await assess(job)
    return { job, plan: await planMachine(job, seen), seen, failed: undefined }
  } catch (error) {
    // An impossible definition, such as a shrinking disk, is a mistake in the expression, so the deploy touches no
    // machine.
    if (error instanceof OpsError && error.exitCode === exitCodes.usage) throw error
    const why = await explained(job.ops, error, job.provider.name)
    const failed = failedResult(job.machine, 'inspect', secondsSince(start), why, [])
    const plan = { machine: job.machine, items: [], unknown: failed.reason ?? 'unknown' }
    return { job, plan, seen: undefined, failed }
  } finally {
    restConnection(job)
  }
}
