import type { Bounds } from '../core/deadline.js'
import { abortError } from '../core/errors.js'
import { onAbort } from '../core/on-abort.js'

/** Waits for a promise until the deadline or the signal. The caller must end the abandoned work. */
export async function bounded<T>(
  thing: Promise<T>,
  { signal, timeoutMs }: Bounds,
  errors: { readonly what: string; late(): Error },
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  let stopListening = () => {}
  const end = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(errors.late()), timeoutMs)
    stopListening = onAbort(signal, () => reject(abortError(signal, errors.what)))
  })
  try {
    return await Promise.race([thing, end])
  } finally {
    clearTimeout(timer)
    stopListening()
  }
}

/** Returns the promise's value, or undefined when the promise takes longer or fails. */
export async function within<T>(thing: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms)
  })
  try {
    return await Promise.race([thing.catch(() => undefined), late])
  } finally {
    clearTimeout(timer)
  }
}
