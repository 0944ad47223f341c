import { existsSync, readdirSync } from 'node:fs'
import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { exitCodes, OpsError, usageError } from '../core/errors.js'

export interface DeleteRequest {
  readonly deployment: string | undefined
  /** Whether to delete the deployment even if machines remain that hydra-ops created. */
  readonly force: boolean
  readonly yes: boolean
}

/** Forgets a deployment with its keys, logs and history. Destroys nothing, and refuses while machines remain. */
export async function deleteDeployment(ops: Ops, request: DeleteRequest): Promise<DeploymentRecord> {
  const record = await ops.store.resolve(request.deployment)
  refuseWhileMachinesRemain(ops, record, request.force)
  const called = record.name ?? record.uuid
  if (!request.yes) {
    const sure = await ops.questions.confirm(`forget deployment '${called}' with its keys, logs and history?`)
    if (!sure) throw new OpsError('REFUSED', exitCodes.failed, 'nothing was deleted')
  }
  return ops.store.lock(record.uuid, async (held) => {
    // Another command may have deployed while the question was on the screen.
    refuseWhileMachinesRemain(ops, held.record, request.force)
    refuseWhileDisksRemain(held.paths.disks, called)
    await held.remove()
    return record
  })
}

function refuseWhileMachinesRemain(ops: Ops, record: DeploymentRecord, force: boolean): void {
  const remaining = remainingMachines(ops, record)
  if (remaining.length === 0 || force) return
  throw usageError(`deployment '${record.name ?? record.uuid}' still has machines: ${remaining.join(', ')}`, {
    hint: 'destroy the machines first: hydra-ops destroy (or hydra-ops delete --force, which does not destroy them)',
  })
}

/** Refuses while disks remain: a guest of the user's own libvirt has its disk in the deployment's folder. */
function refuseWhileDisksRemain(folder: string, called: string): void {
  if (!existsSync(folder)) return
  const disks = readdirSync(folder, { withFileTypes: true, recursive: true }).filter((entry) =>
    entry.isFile(),
  )
  if (disks.length === 0) return
  throw usageError(`disks of machines are in the folder of deployment '${called}': ${folder}`, {
    hint: 'hydra-ops destroy removes the disks with their machines; to keep the disks, move them to another folder first',
  })
}

/** Lists the machines for which hydra-ops may have left a resource. */
function remainingMachines(ops: Ops, record: DeploymentRecord): string[] {
  const makes = new Map(ops.providers.all().map((provider) => [provider.name, provider.makesMachines]))
  return Object.entries(record.machines).flatMap(([name, machine]) => {
    const made = machine.handle !== undefined || machine.intent !== undefined
    // A provider that is no longer installed may also have created the machine.
    return made && (makes.get(machine.provider) ?? true) ? [name] : []
  })
}
