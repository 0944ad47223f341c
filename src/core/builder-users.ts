import { machinesIn, offerTask } from './builder-offer.js'
import { buildersUsers } from './builder-options.js'
import type { MachineName } from './names.js'
import type { PeerMachine } from './setup-task.js'

/** Returns the machines that may build on a machine: by its definition, or else by its last offer. */
export function usersOf({
  definition,
  outputs,
  obsolete,
}: Pick<PeerMachine, 'definition' | 'outputs' | 'obsolete'>): readonly MachineName[] {
  if (obsolete) return []
  if (definition === undefined) return machinesIn(outputs[offerTask]?.for)
  const { builder } = definition.options
  return builder.enable ? buildersUsers(builder) : []
}
