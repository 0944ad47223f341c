import type { Ops } from '../core/context.js'
import type { JournalEntry } from '../core/deployment.js'

/** Returns the history of a deployment, oldest first; `count` limits the history to the newest entries. */
export async function deploymentHistory(
  ops: Ops,
  request: { readonly deployment: string | undefined; readonly count: number | undefined },
): Promise<JournalEntry[]> {
  const entries = await ops.store.history((await ops.store.resolve(request.deployment)).uuid)
  return request.count === undefined ? entries : entries.slice(-request.count)
}
