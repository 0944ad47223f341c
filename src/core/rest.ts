/** Milliseconds of work on the machines of a fleet before other work gets its turn. */
const usualMs = 20

/**
 * Creates a function to await between the steps of a long computation. Timers, sockets and signals get their turn after
 * `ms` without a pause. Several workers of one computation share the pause; otherwise each worker would take `ms` of
 * every turn.
 */
export function restEvery(ms = usualMs): () => Promise<void> {
  let worked = performance.now()
  let pause: Promise<void> | undefined
  return async () => {
    if (pause === undefined && performance.now() - worked < ms) return
    pause ??= new Promise<void>((resolve) => {
      setImmediate(() => {
        worked = performance.now()
        pause = undefined
        resolve()
      })
    })
    await pause
  }
}
