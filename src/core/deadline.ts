import { onAbort } from './on-abort.js'

/** What ends a wait: somebody's cancel, or the time. */
export interface Bounds {
  readonly signal: AbortSignal
  readonly timeoutMs: number
}

export interface Deadline {
  /** Fires with the signal it was made from, or when the time is over. */
  readonly signal: AbortSignal
  /** Whether the time was over first. */
  expired(): boolean
  /** Ends the timer, and listens to the other signal no more. */
  stop(): void
}

/**
 * Derives a signal that also fires after some time. `AbortSignal.any([signal, AbortSignal.timeout(…)])` does not do:
 * Node 20 collects the timeout as garbage, and such a wait never ends (measured).
 */
export function withDeadline(signal: AbortSignal, milliseconds: number): Deadline {
  const controller = new AbortController()
  let expired = false
  const timer = setTimeout(() => {
    expired = !controller.signal.aborted
    stopListening()
    controller.abort(new DOMException(`nothing within ${milliseconds / 1_000} s`, 'TimeoutError'))
  }, milliseconds)
  // A wait that nobody waits for any more does not keep the process.
  timer.unref()
  const stopListening = onAbort(signal, () => {
    clearTimeout(timer)
    controller.abort(signal.reason)
  })
  return {
    signal: controller.signal,
    expired: () => expired,
    stop() {
      clearTimeout(timer)
      stopListening()
    },
  }
}

/** Waits for `action`, which is given the deadline to end by. No timer and no listener stays behind. */
export async function withinDeadline<T>(
  signal: AbortSignal,
  milliseconds: number,
  action: (deadline: Deadline) => Promise<T>,
): Promise<T> {
  const deadline = withDeadline(signal, milliseconds)
  try {
    return await action(deadline)
  } finally {
    deadline.stop()
  }
}
