import { severalErrors } from './several-errors.js'

/**
 * Waits until every promise has ended, then returns their values or throws one error with every rejection. Promise.all
 * would leave work running, and the lock would be released too early.
 */
export async function settleAll<T extends readonly unknown[] | []>(
  promises: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const settled = await Promise.allSettled(promises)
  const rejected = settled.flatMap((one): unknown[] => (one.status === 'rejected' ? [one.reason] : []))
  if (rejected.length > 0) throw severalErrors(rejected)
  return Promise.all(promises)
}
