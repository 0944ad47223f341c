import { onAbort } from './on-abort.js'

/** The bounds of a wait: a caller's cancellation, and a time limit. */
export interface Bounds {
  readonly signal: AbortSignal
  readonly timeoutMs: number
}

export interface Deadline {
  /** The signal that fires together with the caller's signal, or when the time is up. */
  readonly signal: AbortSignal
  /** Tells whether the time was up before the caller cancelled. */
  expired(): boolean
  /** Stops the timer and removes the listener from the caller's signal. */
  stop(): void
}

/**
 * Derives a signal that also fires after some time. Node 20 garbage-collects the timeout in
 * `AbortSignal.any([signal, AbortSignal.timeout(…)])`, so such a wait never ends (measured).
 */
export function withDeadline(signal: AbortSignal, milliseconds: number): Deadline {
  const controller = new AbortController()
  let expired = false
  const timer = setTimeout(() => {
    expired = !controller.signal.aborted
    stopListening()
    controller.abort(new DOMException(`the deadline of ${milliseconds / 1_000} s has passed`, 'TimeoutError'))
  }, milliseconds)
  // An abandoned wait must not keep the process alive.
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

/** Waits for `action`, which gets the deadline. No timer and no listener remains afterwards. */
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
