/** Milliseconds of work on the machines of a fleet before other work gets its turn. */
const usualMs = 20

/**
 * Makes a function to await between the steps of a long computation. Timers, sockets and signals get their turn after
 * `ms` without a pause.
 */
export function restEvery(ms = usualMs): () => Promise<void> {
  let worked = performance.now()
  return async () => {
    if (performance.now() - worked < ms) return
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
    worked = performance.now()
  }
}
