import type { Ops } from '../core/context.js'
import { type WholeSshConfig, wholeSshConfig } from '../machine/ssh-client.js'
import { selectRecordedMachines } from '../network/select-by-tag.js'
import type { Selection } from '../network/selection.js'

/** Returns a configuration for ssh, rsync and Ansible with every selected machine; the file's path never changes. */
export async function printSshConfig(
  ops: Ops,
  request: { readonly deployment: string | undefined; readonly selection: Selection },
): Promise<WholeSshConfig> {
  const record = await ops.store.resolve(request.deployment)
  const run = { signal: ops.signal, log: () => {} }
  const machines = await selectRecordedMachines(ops, record, request.selection, run)
  return wholeSshConfig(ops, record, machines, run)
}
