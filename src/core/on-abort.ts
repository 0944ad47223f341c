import { setMaxListeners } from 'node:events'

/**
 * Calls `action` when the signal fires, or at once if the signal has already fired. Returns a function that stops
 * listening. Many commands listen to one signal, so the limit of listeners is lifted. Otherwise Node would report a
 * leak on the user's terminal.
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
