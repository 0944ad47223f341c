import { setMaxListeners } from 'node:events'

/**
 * Calls `action` when the signal fires; returns how to stop listening. Many commands of many machines wait for one
 * signal, which Node takes for a leak and warns of on the user's terminal.
 */
export function onAbort(signal: AbortSignal, action: () => void): () => void {
  setMaxListeners(0, signal)
  signal.addEventListener('abort', action, { once: true })
  return () => signal.removeEventListener('abort', action)
}
