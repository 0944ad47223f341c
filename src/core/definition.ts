import * as z from 'zod'
import { CommonOptions } from './common-options.js'
import { jsonSchema } from './json.js'
import { MachineName, StorePath } from './names.js'

/** What the evaluation says of one file or unit; the text itself lies in the closure. */
export const ManagedFile = z.strictObject({
  /** sha256 of the text, hex. */
  hash: z.string(),
  mode: z.string(),
  user: z.string(),
  group: z.string(),
})
export const ManagedUnit = z.strictObject({ hash: z.string(), enable: z.boolean() })

/** One machine as the evaluation describes it. `options` and `provider` were validated by their schemas. */
export const MachineDefinition = z.object({
  name: MachineName,
  options: CommonOptions,
  /** Canonical name of the provider: `libvirt`, `ssh` … */
  providerName: z.string(),
  /** The provider's own options, still to be parsed by its `configSchema`. */
  provider: jsonSchema,
  /** Derivation and output of the closure to deploy; absent in the first, cheap evaluation. */
  drvPath: StorePath.optional(),
  outPath: StorePath.optional(),
  files: z.record(z.string(), ManagedFile),
  units: z.record(z.string(), ManagedUnit),
  /** Number of `deployment.packages`. */
  packageCount: z.number(),
  /** Store paths named by `deployment.packages`, for the plan. */
  hasActivate: z.boolean(),
  /** Which files define an option: `deployment.memorySize` → paths. For error texts. */
  origins: z.record(z.string(), z.array(z.string())),
})
export type MachineDefinition = z.infer<typeof MachineDefinition>

/** A whole network expression, evaluated. */
export interface NetworkDefinition {
  readonly name: string | undefined
  readonly description: string | undefined
  /** Tags in the order in which their machines are deployed; machines of no listed tag come last. */
  readonly ordering: readonly string[]
  readonly machines: ReadonlyMap<MachineName, MachineDefinition>
  /** Machines that were not required and whose definition is not valid. They are in the network all the same: not obsolete. */
  readonly failed?: ReadonlyMap<MachineName, Error>
}
