import { failure, type OpsError } from './errors.js'

/** Creates the error for a new snapshot whose name is already in use. */
export function snapshotExists(machine: string, name: string): OpsError {
  return failure('SNAPSHOT_EXISTS', `machine '${machine}' already has a snapshot '${name}'`, {
    machine,
    hint: `choose another name, or run hydra-ops snapshot delete ${name} ${machine} first`,
  })
}

export function noSnapshot(machine: string, name: string, hint = 'hydra-ops snapshot list'): OpsError {
  return failure('NO_SNAPSHOT', `machine '${machine}' has no snapshot '${name}'`, { machine, hint })
}
