import type { Ops } from '../core/context.js'
import { exitCodes, OpsError } from '../core/errors.js'

/** Removes the lock of a deployment; returns its holder, or `undefined` if nobody held the lock. */
export async function unlockDeployment(
  ops: Ops,
  request: { readonly deployment: string | undefined; readonly yes: boolean },
): Promise<string | undefined> {
  const record = await ops.store.resolve(request.deployment)
  const called = record.name ?? record.uuid
  if (!request.yes) {
    const question = `remove the lock of '${called}'? If its holder is still running, both processes will write to the deployment`
    if (!(await ops.questions.confirm(question))) {
      throw new OpsError('REFUSED', exitCodes.failed, 'the lock was not removed')
    }
  }
  return await ops.store.unlock(record.uuid)
}
