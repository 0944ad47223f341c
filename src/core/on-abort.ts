import { setMaxListeners } from 'node:events'

/**
 * Calls `action` when the signal fires, or at once, before it returns, where the signal has fired. Returns how to stop
 * listening. Many commands of many machines wait for one signal, which Node takes for a leak and warns of on the
 * user's terminal.
 */
export function onAbort(signal: AbortSignal, action: () => void): () => void {
  if (signal.aborted) {
    action()
    return () => {}
  }
  setMaxListeners(0, signal)
  signal.addEventListener('abort', action, { once: true })
  return () => signal.removeEventListener('abort', action)
}
