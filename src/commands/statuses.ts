import { exitCodes } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'

/** Returns the exit status of a run over machines: 3 if the run failed or degraded any of them. */
export function machinesStatus(results: readonly MachineResult[]): number {
  const bad = results.some((result) => result.outcome === 'failed' || result.outcome === 'degraded')
  return bad ? exitCodes.machines : exitCodes.done
}
