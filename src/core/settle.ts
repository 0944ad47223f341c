import { severalErrors } from './several-errors.js'

/**
 * Waits until every promise has ended, then answers their values or throws one error that tells of every
 * rejection. Unlike Promise.all it leaves nothing running behind, so that a lock is not given back while work
 * goes on.
 */
export async function settleAll<T extends readonly unknown[] | []>(
  promises: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const settled = await Promise.allSettled(promises)
  const rejected = settled.flatMap((one): unknown[] => (one.status === 'rejected' ? [one.reason] : []))
  if (rejected.length > 0) throw severalErrors(rejected)
  return Promise.all(promises)
}
