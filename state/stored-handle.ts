import type { MachineRecord } from '../src/core/deployment.js'
import { mapTexts, movedPath, stateFolderOf, textsOf } from '../src/core/moved-paths.js'

/** Placeholder for the state folder in a provider's stored data, so that the folder can be moved. */
const stateMark = '{state}'

/** Returns a machine's record with the paths of its handle in stored form. */
export function storedHandle(root: string, machine: MachineRecord): MachineRecord {
  return withHandle(machine, (path) => movedPath(path, root, stateMark))
}

/** Returns a machine's record with the paths of its handle as they are on this host. */
export function presentHandle(root: string, machine: MachineRecord): MachineRecord {
  return withHandle(machine, (path) => movedPath(path, stateMark, root))
}

function withHandle(machine: MachineRecord, change: (path: string) => string): MachineRecord {
  return machine.handle === undefined ? machine : { ...machine, handle: mapTexts(machine.handle, change) }
}

/**
 * Makes the absolute paths in handles of schema 1 relative to the state folder. The folder may have moved since, so its
 * old path is derived from stored paths, which contain the deployment's UUID.
 */
export function relativeHandles(deployment: Record<string, unknown>): Record<string, unknown> {
  const { uuid, machines } = deployment
  if (typeof uuid !== 'string' || typeof machines !== 'object' || machines === null) return deployment
  const changed = Object.entries(machines).map(([name, machine]: [string, unknown]) => [
    name,
    withRelativeHandle(machine, uuid),
  ])
  return { ...deployment, machines: Object.fromEntries(changed) }
}

function withRelativeHandle(machine: unknown, uuid: string): unknown {
  if (typeof machine !== 'object' || machine === null || !('handle' in machine)) return machine
  const paths = textsOf(machine.handle).filter((text) => text.startsWith('/'))
  const from = paths.flatMap((path) => stateFolderOf(path, uuid) ?? [])[0]
  if (from === undefined) return machine
  return { ...machine, handle: mapTexts(machine.handle, (text) => movedPath(text, from, stateMark)) }
}
