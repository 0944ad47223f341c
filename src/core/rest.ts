/**
 * Begins a long piece of work in one go. The answer is called between its steps: after `ms` without a pause it lets
 * timers, sockets and signals have their turn.
 */
export function restEvery(ms: number): () => Promise<void> {
  let worked = performance.now()
  return async () => {
    if (performance.now() - worked < ms) return
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
    worked = performance.now()
  }
}
