import * as z from 'zod'
import { schemaVersion } from './schema.js'
import { relativeHandles } from './stored-handle.js'

/** Converts a file from one version to the form of the next version. */
export type Migration = (state: Record<string, unknown>) => Record<string, unknown>

const Deployment = z.looseObject({})
const Machine = z.looseObject({ tasks: z.record(z.string(), z.unknown()) })
const Machines = z.record(z.string(), z.unknown())

/** Names of tasks since schema 4, by their old names. */
const renamedTasks: Readonly<Record<string, string>> = {
  'hydra-users': 'hydra-accounts',
  'hydra-probe': 'hydra-proof',
}

/** Migrations by the version that they start from. A released migration never changes. */
const migrations: Readonly<Record<number, Migration>> = {
  1: ({ deployment, ...rest }) => {
    const found = Deployment.safeParse(deployment)
    return { ...rest, deployment: found.success ? relativeHandles(found.data) : deployment }
  },
  // Machines get their own files at the first write.
  2: ({ deployment, ...rest }) => {
    const found = Deployment.safeParse(deployment)
    if (!found.success) return { ...rest, deployment }
    const { machines, ...head } = found.data
    return { ...rest, deployment: head, machines }
  },
  // A file contains one machine, no machine, or all machines of a state that has not been divided yet.
  3: (file) => {
    const machines = Machines.safeParse(file.machines)
    return {
      ...file,
      ...('machine' in file ? { machine: withTaskNames(file.machine) } : {}),
      ...(machines.success
        ? {
            machines: Object.fromEntries(
              Object.entries(machines.data).map(([name, machine]) => [name, withTaskNames(machine)]),
            ),
          }
        : {}),
    }
  },
  // Schema 5 lets a deployed closure name the Hydra build from which it comes, so older files stay valid.
  4: (file) => file,
}

/**
 * Renames the tasks in a machine's record. A value that is not a record stays as it is, and the schema refuses that
 * value.
 */
function withTaskNames(machine: unknown): unknown {
  const found = Machine.safeParse(machine)
  if (!found.success) return machine
  const tasks = Object.entries(found.data.tasks).map(([id, task]) => [renamedTasks[id] ?? id, task])
  return { ...found.data, tasks: Object.fromEntries(tasks) }
}

const Versioned = z.looseObject({ schemaVersion: z.int().nonnegative() })

export type Migrated =
  | { readonly kind: 'current'; readonly state: unknown; readonly from: number }
  | { readonly kind: 'newer'; readonly version: number }
  /** Missing state, or a version that never existed. */
  | { readonly kind: 'alien' }

/** Migrates a state in memory to the form of `target`; the next write makes it permanent. */
export function migrate(read: unknown, target = schemaVersion, steps = migrations): Migrated {
  // Most files have the current version, and a check by a schema would take longer than everything else here.
  if (typeof read === 'object' && read !== null && 'schemaVersion' in read && read.schemaVersion === target)
    return { kind: 'current', state: read, from: target }
  const versioned = Versioned.safeParse(read)
  if (!versioned.success) return { kind: 'alien' }
  const { schemaVersion: found } = versioned.data
  if (found > target) return { kind: 'newer', version: found }
  let state: Record<string, unknown> = versioned.data
  for (let version = found; version < target; version += 1) {
    const step = steps[version]
    if (step === undefined) return { kind: 'alien' }
    state = { ...step(state), schemaVersion: version + 1 }
  }
  return { kind: 'current', state, from: found }
}
