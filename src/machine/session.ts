import {
  type DeploymentRecord,
  type MachineRecord,
  newMachines,
  type StateFolder,
} from '../core/deployment.js'
import { failure } from '../core/errors.js'
import type { MachineName } from '../core/names.js'
import type { DeploymentSession } from '../core/session.js'

/** Begins a session that keeps changes in memory and discards them. */
export function dryRunSession(files: StateFolder, written: DeploymentRecord): DeploymentSession {
  const { machines: known, ...head } = structuredClone(written)
  const machines = newMachines(known)
  const record: DeploymentRecord = { ...head, machines }
  return {
    writable: false,
    written,
    paths: files.paths(written.uuid),
    record,
    updateDeployment: async (change) => change(record),
    updateMachine: async (machine, change) => {
      machines[machine] = changed(machineRecord(record, machine), change)
    },
    putMachine: async (machine, wanted) => {
      machines[machine] = wanted
    },
    removeMachine: async (machine) => {
      delete machines[machine]
    },
    journal: async () => {},
    remove: async () => {},
    begun: false,
    begin: async () => {},
    commitNetwork: async () => {},
    commit: async () => {},
    whenWriting: async () => {},
  }
}

/** Returns a changed copy, so that other holders of the record see no change. */
export function changed<T>(value: T, change: (draft: T) => void): T {
  const draft = structuredClone(value)
  change(draft)
  return draft
}

export function machineRecord(record: DeploymentRecord, machine: MachineName): MachineRecord {
  const found = Object.hasOwn(record.machines, machine) ? record.machines[machine] : undefined
  if (found === undefined)
    throw failure('NO_MACHINE', `machine '${machine}' is not in the state`, { machine })
  return found
}
