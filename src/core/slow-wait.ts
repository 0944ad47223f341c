/** Awaits a promise, and calls `say` once if that takes longer than `usualMs`. */
export async function sayingWhenSlow<T>(wait: Promise<T>, usualMs: number, say: () => void): Promise<T> {
  const timer = setTimeout(say, usualMs)
  timer.unref()
  try {
    return await wait
  } finally {
    clearTimeout(timer)
  }
}
