import * as z from 'zod'
import { HydraOptions } from './hydra-options.js'
import { jsonSchema } from './json.js'
import { MachineName, StorePath } from './names.js'
import { NixTaskOptions } from './nix-options.js'
import { readSshOptions } from './ssh-options.js'

/** One secret delivered outside the Nix store (NixOps' and Colmena's `deployment.keys`). */
export const KeyDefinition = z.strictObject({
  name: z.string().min(1).optional(),
  text: z.string().nullish(),
  keyFile: z.string().nullish(),
  keyCommand: z.array(z.string()).min(1).nullish(),
  destDir: z.string().startsWith('/').default('/run/keys'),
  user: z.string().min(1).default('root'),
  group: z.string().min(1).default('root'),
  permissions: z
    .string()
    .regex(/^[0-7]{3,4}$/, 'an octal mode such as "0600"')
    .default('0600'),
  uploadAt: z.enum(['pre-activation', 'post-activation']).default('pre-activation'),
})
export type KeyDefinition = z.infer<typeof KeyDefinition>

const checkTimes = {
  description: z.string().optional(),
  /** Seconds between attempts. */
  period: z.number().positive().default(2),
  /** Seconds one attempt may take. */
  timeout: z.number().positive().default(5),
  /** Seconds until the check has failed for good. */
  total: z.number().positive().default(60),
}

export const HealthChecks = z.strictObject({
  cmd: z.array(z.strictObject({ ...checkTimes, cmd: z.array(z.string()).min(1) })).default([]),
  http: z
    .array(
      z.strictObject({
        ...checkTimes,
        host: z.string().nullish(),
        scheme: z.enum(['http', 'https']).default('http'),
        port: z.number().int().min(1).max(65535),
        path: z.string().startsWith('/').default('/'),
        headers: z.record(z.string(), z.string()).default({}),
        insecureSSL: z.boolean().default(false),
      }),
    )
    .default([]),
  tcp: z
    .array(
      z.strictObject({ ...checkTimes, host: z.string().nullish(), port: z.number().int().min(1).max(65535) }),
    )
    .default([]),
  systemd: z.array(z.strictObject({ ...checkTimes, unit: z.string().min(1) })).default([]),
})
export type HealthChecks = z.infer<typeof HealthChecks>

const noChecks = { cmd: [], http: [], tcp: [], systemd: [] }

/** What of `deployment.*` does not belong to one provider. */
export const CommonOptions = z.strictObject({
  os: z.enum(['nixos', 'debian']).default('nixos'),
  targetEnv: z.string().default('none'),
  targetHost: z.string().min(1).nullish(),
  targetPort: z.number().int().min(1).max(65535).nullish(),
  targetUser: z.string().min(1).nullish(),
  /** `ssh-ed25519 AAAA…`: the key the host must show. */
  targetHostKey: z.string().min(1).nullish(),
  sshOptions: z
    .array(z.string())
    .superRefine((words, found) => {
      for (const message of readSshOptions(words).refused) found.addIssue({ code: 'custom', message })
    })
    .default([]),
  privilegeEscalationCommand: z.array(z.string()).default(['sudo', '-H', '--']),
  hasFastConnection: z.boolean().default(false),
  substituteOnDestination: z.boolean().default(false),
  allowLocalDeployment: z.boolean().default(false),
  buildOnTarget: z.boolean().default(false),
  tags: z.array(z.string()).default([]),
  owners: z.array(z.string()).default([]),
  alwaysActivate: z.boolean().default(false),
  keys: z.record(z.string(), KeyDefinition).default({}),
  healthChecks: HealthChecks.default(noChecks),
  preDeployChecks: HealthChecks.default(noChecks),
  aptPackages: z
    .array(z.string().regex(/^[a-z0-9][a-z0-9.+-]*(?:=[^\s=]+)?$/, 'a Debian package name'))
    .default([]),
  /** A URL, or `operator:PORT` for a port of the operator's own loopback. */
  aptProxy: z
    .string()
    .regex(
      /^(?:operator:\d{1,5}|https?:\/\/[^\s"\\;{}]+)$/,
      'a URL such as "http://proxy.example.org:3128", or "operator:PORT"',
    )
    .nullish(),
  /** Options of the `nix` task. */
  nix: NixTaskOptions.prefault({}),
  /** Options of the `cache-key` task; absent = not wanted. */
  cacheKey: z
    .strictObject({
      enable: z.boolean().default(false),
      keyName: z
        .string()
        .regex(/^[^\s:-][^\s:]*$/, 'a key name such as "cache.example.org-1", without ":" and blanks')
        .nullish(),
      directory: z.string().startsWith('/').default('/etc/hydra-ops/cache-key'),
      group: z.string().min(1).default('root'),
    })
    .default({ enable: false, directory: '/etc/hydra-ops/cache-key', group: 'root' }),
  hydra: HydraOptions.prefault({}),
})
export type CommonOptions = z.infer<typeof CommonOptions>

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
