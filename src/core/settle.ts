/**
 * Waits until every promise has ended, then answers their values or throws the first rejection. Unlike
 * Promise.all it leaves nothing running behind, so that a lock is not given back while work goes on.
 */
export async function settleAll<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(promises)
  return settled.map((one) => {
    if (one.status === 'rejected') throw one.reason
    return one.value
  })
}
