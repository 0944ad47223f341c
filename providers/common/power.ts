import { failure, type OpsError, throwIfAborted } from '../../src/core/errors.js'
import { pause } from '../../src/core/pause.js'
import type { Run } from '../../src/core/run.js'

const pollMs = 400

/** Interval between shutdown requests, because a guest early in its boot ignores the power button. */
const askAgainMs = 6_000

/** Time for a guest whose shutdown was already in progress. */
export const endingMs = 60_000

export interface ShutdownSteps {
  /** Requests a shutdown; the machine may already be off, or shutting down. */
  ask(): Promise<unknown>
  isOff(): Promise<boolean>
}

/** Requests a shutdown repeatedly. Returns true when the machine is off; false at the deadline. */
export async function waitUntilOff(steps: ShutdownSteps, graceMs: number, run: Run): Promise<boolean> {
  const end = Date.now() + graceMs
  let askAt = Date.now()
  while (Date.now() < end) {
    throwIfAborted(run.signal)
    if (Date.now() >= askAt) {
      await steps.ask()
      askAt = Date.now() + askAgainMs
    }
    if (await steps.isOff()) return true
    await pause(Math.min(pollMs, Math.max(0, end - Date.now())), run.signal)
  }
  return false
}

/** Says that the power is cut, because the guest ignored the request. */
export function cuttingPower(graceMs: number): string {
  return `the machine did not shut down within ${graceMs / 1000} s; its power is cut now`
}

/** Creates the error for a machine that the hypervisor does not have. */
export function notMade(machine: string, what: string): OpsError {
  return failure('NOT_MADE', `machine '${machine}': there is no ${what}`, {
    machine,
    hint: 'hydra-ops deploy',
  })
}
