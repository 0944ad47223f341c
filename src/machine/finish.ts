import { messageOf, OpsError } from '../core/errors.js'
import type { MachineOutcome, MachineResult, Stage } from '../core/events.js'
import type { MachineName } from '../core/names.js'

/** Creates the result of a failed machine; an interruption is not a result and is rethrown. */
export function failedResult(
  machine: MachineName,
  stage: Stage | undefined,
  seconds: number,
  error: unknown,
  lastLines: readonly string[],
): MachineResult {
  if (error instanceof OpsError && error.code === 'INTERRUPTED') throw error
  const detail = error instanceof OpsError ? error.detail : undefined
  const outcome: MachineOutcome =
    error instanceof OpsError && degradedCodes.has(error.code) ? 'degraded' : 'failed'
  return {
    machine,
    outcome,
    stage,
    seconds,
    reason: messageOf(error),
    hint:
      error instanceof OpsError ? error.hint : 'this is probably a bug in hydra-ops; report it with the log',
    evidence: detail === undefined ? lastLines : detail.split('\n'),
  }
}

/** Error codes of a machine that runs the wanted system with a fault. */
const degradedCodes = new Set(['UNITS_FAILED', 'DEGRADED'])

export function secondsSince(start: number): number {
  return Math.round((Date.now() - start) / 100) / 10
}
