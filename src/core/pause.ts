import { setTimeout as sleep } from 'node:timers/promises'
import { throwIfInterrupted } from './errors.js'

/** Waits, or throws as soon as the signal fires. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  throwIfInterrupted(signal)
  try {
    await sleep(ms, undefined, { signal })
  } catch (error) {
    throwIfInterrupted(signal)
    throw error
  }
}
