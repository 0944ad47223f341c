import * as z from 'zod'
import type { DeploymentHead, JournalEntry, MachineRecord } from '../src/core/deployment.js'
import type { Json } from '../src/core/json.js'
import { DeploymentName, DeploymentUuid, MachineName, StorePath } from '../src/core/names.js'
import type { Preferences } from '../src/core/store.js'

/**
 * Version of the files that this program writes. Every change of the schemas below needs a new version and a migration.
 */
export const schemaVersion = 5

/** The first version in which each machine has its own file. */
export const dividedSince = 3

/**
 * Schema that accepts any value. The output of JSON.parse is JSON, and another check would cost more than everything
 * else.
 */
const json = z.custom<Json>((value) => value !== undefined)
const texts = z.record(z.string(), z.string())

const deployed = z.strictObject({
  path: StorePath,
  at: z.string(),
  run: z.string(),
  files: texts,
  units: texts,
  hydra: z
    .strictObject({
      url: z.string(),
      project: z.string(),
      jobset: z.string(),
      evaluation: z.int(),
      build: z.int(),
      job: z.string(),
      inputs: texts,
      evaluatedAt: z.string().optional(),
    })
    .optional(),
})
const unfinishedCopy = z.strictObject({ path: StorePath, bootId: z.string() })
const activation = z.strictObject({ unit: z.string(), path: StorePath, log: z.string(), bootId: z.string() })
const tasks = z.record(
  z.string(),
  z.strictObject({ inputs: z.string(), secrets: texts.optional(), outputs: texts, at: z.string() }),
)
const facts = z.strictObject({
  osRelease: z.string().optional(),
  bootId: z.string().optional(),
  nixVersion: z.string().optional(),
  freeBytes: z.number().optional(),
  seenAt: z.string().optional(),
})

const snapshot = z.strictObject({
  since: z.string(),
  at: z.string().optional(),
  config: json.optional(),
  deployed: deployed.optional(),
  unfinishedCopy: unfinishedCopy.optional(),
  activation: activation.optional(),
  tasks,
  keys: texts,
  facts,
})

const machine = z.strictObject({
  provider: z.string(),
  os: z.enum(['debian', 'nixos']),
  index: z.int().positive(),
  allocation: json,
  hostKey: z.string().optional(),
  handle: json.optional(),
  config: json.optional(),
  intent: z
    .strictObject({
      action: z.enum(['create', 'change', 'destroy']),
      resource: z.string(),
      since: z.string(),
    })
    .optional(),
  target: z
    .strictObject({
      host: z.string().optional(),
      hosts: z.array(z.string()).optional(),
      port: z.int().optional(),
      user: z.string().optional(),
      hostKey: z.string().optional(),
      sshOptions: z.array(z.string()),
      privilegeEscalation: z.array(z.string()),
    })
    .optional(),
  obsolete: z.boolean(),
  stoppedOnPurpose: z.boolean().optional(),
  deployed: deployed.optional(),
  unfinishedCopy: unfinishedCopy.optional(),
  activation: activation.optional(),
  tasks,
  keys: texts,
  facts,
  snapshots: z.record(z.string(), snapshot).optional(),
  lastResult: z.enum(['changed', 'unchanged', 'degraded', 'failed']).optional(),
})

const machines = z.record(MachineName, machine)

const head = z.strictObject({
  uuid: DeploymentUuid,
  name: DeploymentName.optional(),
  description: z.string().optional(),
  expressions: z.array(z.string()),
  searchPath: z.array(z.string()),
  args: texts,
  fromGit: z.boolean().optional(),
  createdAt: z.string(),
})

/** Number of writes; a number that differs from the number read earlier means that another process wrote. */
const revision = z.int().nonnegative()

/**
 * Content of state.json: the deployment's own part. The schema is strict: an unknown field belongs to a newer program
 * and must not be dropped.
 */
export const StateFile = z.strictObject({
  schemaVersion: z.literal(schemaVersion),
  revision,
  deployment: head,
})

/** A state older than `dividedSince`, with all machines in one file, in the form that its migration produces. */
export const UndividedState = StateFile.extend({ machines })

/** Content of machines/NAME.json: one machine, and the deployment to which it belongs. */
export const MachineFile = z.strictObject({
  schemaVersion: z.literal(schemaVersion),
  revision,
  deployment: DeploymentUuid,
  name: MachineName,
  machine,
})

let compiledUndivided: typeof UndividedState | undefined
let compiledMachine: typeof MachineFile | undefined

/**
 * Compiles the schema of an undivided state to code. The compilation is slow, but the code is several times as fast as
 * the schema, and accepts the same states.
 */
export function compiledUndividedState(): typeof UndividedState {
  compiledUndivided ??= z.compile(UndividedState)
  return compiledUndivided
}

/** Compiles the schema of a machine's file to code. */
export function compiledMachineFile(): typeof MachineFile {
  compiledMachine ??= z.compile(MachineFile)
  return compiledMachine
}

export const JournalLine: z.ZodType<JournalEntry> = z.object({
  at: z.string(),
  user: z.string(),
  host: z.string(),
  command: z.string(),
  run: z.string(),
  machine: z.string().optional(),
  event: z.string(),
  result: z.string().optional(),
  data: json.optional(),
})

export const PreferencesFile = z.strictObject({
  deployment: z.string().min(1).optional(),
  plugins: z.array(z.string().min(1)).optional(),
  maxConcurrent: z.int().positive().optional(),
})

/** A type that compiles only while the schemas and the core types agree in every field. */
type Same<A, B> = [A, B] extends [B, A]
  ? [keyof A, keyof B] extends [keyof B, keyof A]
    ? true
    : never
  : never
type Fields<T> = { [K in keyof T]-?: true }
true satisfies Same<z.infer<typeof machine>, MachineRecord>
true satisfies Same<Fields<z.infer<typeof machine>>, Fields<MachineRecord>>
true satisfies Same<z.infer<typeof head>, DeploymentHead>
true satisfies Same<Fields<z.infer<typeof head>>, Fields<DeploymentHead>>
true satisfies Same<z.infer<typeof PreferencesFile>, Preferences>
