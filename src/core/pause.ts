import { throwIfAborted } from './errors.js'
import { onAbort } from './on-abort.js'

/** Waits for the given time; throws as soon as the signal fires. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await pauseUnless(new Promise<never>(() => {}), ms, signal)
}

/** Waits as `pause` does, but at most until `event` settles. No timer and no listener remains afterwards. */
export async function pauseUnless(event: Promise<unknown>, ms: number, signal: AbortSignal): Promise<void> {
  throwIfAborted(signal)
  let timer: NodeJS.Timeout | undefined
  let stopListening = () => {}
  try {
    await new Promise<void>((resolve) => {
      const end = () => resolve()
      timer = setTimeout(end, ms)
      stopListening = onAbort(signal, end)
      event.then(end, end)
    })
  } finally {
    clearTimeout(timer)
    stopListening()
  }
  throwIfAborted(signal)
}
