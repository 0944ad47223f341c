import * as z from 'zod'
import { DebianOptions } from './debian-options.js'
import type { NetworkHydra } from './hydra-source.js'
import { jsonSchema } from './json.js'
import { MachineName, StorePath } from './names.js'
import { NixosOptions } from './nixos-options.js'

/** The evaluation's facts about one file or unit; the text itself is in the closure. */
export const ManagedFile = z.strictObject({
  /** The sha256 of the text, in hex. */
  hash: z.string(),
  mode: z.string(),
  user: z.string(),
  group: z.string(),
})
export const ManagedUnit = z.strictObject({ hash: z.string(), enable: z.boolean() })

/** The evaluated definition of a machine of any kind. The schemas have validated `options` and `provider`. */
const AnyMachine = z.object({
  name: MachineName,
  /** The canonical name of the provider: `libvirt`, `ssh` … */
  providerName: z.string(),
  /** The provider's own options, not yet parsed by its `configSchema`. */
  provider: jsonSchema,
  /** The derivation and output of the closure to deploy; absent in the first, cheap evaluation. */
  drvPath: StorePath.optional(),
  outPath: StorePath.optional(),
  /** The files that define each option: `deployment.memorySize` → paths. Error texts name these files. */
  origins: z.record(z.string(), z.array(z.string())),
})

/** A Debian machine, whose closure places files and units while set-up tasks do the rest. */
export const DebianMachine = AnyMachine.extend({
  os: z.literal('debian'),
  options: DebianOptions,
  files: z.record(z.string(), ManagedFile),
  units: z.record(z.string(), ManagedUnit),
  /** The number of `deployment.packages`. */
  packageCount: z.number(),
  hasActivate: z.boolean(),
})
export type DebianMachine = z.infer<typeof DebianMachine>

/** A service of a NixOS machine that serves the store as a binary cache. */
export const StoreServer = z.object({
  /** Unit of the service: `nix-serve.service`. */
  unit: z.string(),
  /** Store path of the package; null if the machine's nixpkgs has no option for the package. */
  package: z.string().nullable(),
  address: z.string(),
  /** TCP port. */
  port: z.number(),
})
export type StoreServer = z.infer<typeof StoreServer>

/** A NixOS machine, whose closure is `config.system.build.toplevel`. */
export const NixosMachine = AnyMachine.extend({
  os: z.literal('nixos'),
  options: NixosOptions,
  /** Set-up tasks that hydra-ops leaves to a service of the machine: the service by the task's name. */
  leftAlone: z.record(z.string(), z.string()).optional(),
  /** Service that serves the store of the Hydra's machine, and signs with the key of the options. */
  storeServer: StoreServer.optional(),
})
export type NixosMachine = z.infer<typeof NixosMachine>

/** One machine, as the evaluation describes it. */
export const MachineDefinition = z.discriminatedUnion('os', [DebianMachine, NixosMachine])
export type MachineDefinition = z.infer<typeof MachineDefinition>

/** Kinds of network expressions that hydra-ops recognises. `nixops` also covers hydra-ops's own form. */
export const networkLayouts = ['colmena', 'morph', 'nixops'] as const

/** Facts about a network that determine the jobsets of a Hydra. */
export interface NetworkForm {
  readonly layout: (typeof networkLayouts)[number]
  /** Whether the network sets its own nixpkgs. */
  readonly namesNixpkgs: boolean
  /** The platform of this host, such as `x86_64-linux`. */
  readonly system: string
}

/** An evaluated network expression. */
export interface NetworkDefinition {
  readonly name: string | undefined
  readonly description: string | undefined
  /** Tags in the order in which their machines are deployed; machines without a listed tag come last. */
  readonly ordering: readonly string[]
  /** `network.hydra`: the jobset that builds the machines. */
  readonly hydra?: NetworkHydra | undefined
  readonly form?: NetworkForm | undefined
  readonly machines: ReadonlyMap<MachineName, MachineDefinition>
  /**
   * Machines that were not required and whose definitions are invalid. These machines still belong to the network,
   * so they are not obsolete.
   */
  readonly failed?: ReadonlyMap<MachineName, Error>
}
