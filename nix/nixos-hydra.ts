import * as z from 'zod'
import { calendarOf } from '../src/core/calendar.js'
import { looksLikeCron } from '../src/core/cron-line.js'
import { StoreServer } from '../src/core/definition.js'
import type { NixosOptions } from '../src/core/nixos-options.js'
import type { FiledIssue } from './machine-issues.js'

/** Facts about Hydra in the configuration of a NixOS machine, as nix/modules/hydra-facts.nix returns them. */
export const HydraOfNixos = z.object({
  enable: z.boolean(),
  port: z.number(),
  package: z.string(),
  url: z.string(),
  secretKeyFile: z.string(),
  /**
   * User-defined services that generate a signing key; `ours` tells whether a service uses the key file of the
   * options.
   */
  keyMakers: z.array(z.object({ service: z.string(), ours: z.boolean() })),
  /** User-defined services that create users of Hydra. */
  userMakers: z.array(z.string()),
  /** Settings that would appear twice in hydra.conf. */
  doubled: z.array(z.string()),
  /** Service that serves the store; `ours` tells whether the service signs with the file of the options. */
  storeServer: StoreServer.extend({ ours: z.boolean() }).nullable(),
})
export type HydraOfNixos = z.infer<typeof HydraOfNixos>

/** Replaces options with the values that services.hydra finally has on the machine. */
export function effectiveHydra(
  hydra: NixosOptions['hydra'],
  made: HydraOfNixos | null,
): NixosOptions['hydra'] {
  if (made === null) return hydra
  return {
    ...hydra,
    enable: made.enable,
    port: made.port,
    package: made.package,
    url: URL.canParse(made.url) ? made.url : hydra.url,
  }
}

/** Returns the service that a set-up task proves; undefined unless the service signs with the key of the options. */
export function provenStoreServer(made: HydraOfNixos | null): StoreServer | undefined {
  const foreignKey = made?.keyMakers.some(({ ours }) => !ours) ?? false
  if (made === null || made.storeServer === null || foreignKey) return undefined
  const { ours, ...server } = made.storeServer
  return ours ? server : undefined
}

/** Lists the set-up tasks whose work a user-defined service does, each with its service. */
export function tasksLeftAlone(made: HydraOfNixos | null): Record<string, string> {
  const [keyMaker] = made?.keyMakers ?? []
  const [userMaker] = made?.userMakers ?? []
  return {
    ...(keyMaker === undefined ? {} : { 'cache-key': keyMaker.service }),
    // The proof would log in with the options' password, but the service sets another password.
    ...(userMaker === undefined ? {} : { 'admin-user': userMaker, 'hydra-proof': userMaker }),
  }
}

/** Explains which tasks do not run, and why. */
export function tellsLeftAlone(
  made: HydraOfNixos | null,
  { cache, nixServe, admin, users, probe }: NixosOptions['hydra'],
): string[] {
  const [keyMaker] = made?.keyMakers ?? []
  const [userMaker] = made?.userMakers ?? []
  const signs = cache.enable || nixServe.enable
  const hasUsers = (admin ?? null) !== null || Object.keys(users).length > 0
  return [
    ...(keyMaker === undefined || !signs
      ? []
      : [
          `set-up task 'cache-key' does not run, because the machine's own service '${keyMaker.service}' creates the key${
            keyMaker.ours
              ? ''
              : `; the service names a file other than ${made?.secretKeyFile}: set deployment.hydra.cache.secretKeyFile to its file`
          }`,
        ]),
    ...(userMaker === undefined || !hasUsers
      ? []
      : [
          `set-up task 'admin-user' does not run, because the machine's own service '${userMaker}' creates users${
            probe ? "; 'hydra-proof' does not run either, because it would need their password" : ''
          }`,
        ]),
  ]
}

/** Lists the settings of Hydra and timers that cannot work on a NixOS machine, each with the alternative. */
export function hydraIssues(options: NixosOptions, made: HydraOfNixos | null): FiledIssue[] {
  const { autoUpdate, hydra, nix } = options
  const at = (path: readonly string[], say: string) => ({ path: ['deployment', ...path], say })
  const cron = [
    ...(autoUpdate.enable ? [{ path: ['autoUpdate', 'dates'], dates: autoUpdate.dates }] : []),
    ...(nix.gc.automatic ? [{ path: ['nix', 'gc', 'dates'], dates: nix.gc.dates }] : []),
    ...(hydra.enable && hydra.gc.automatic
      ? [{ path: ['hydra', 'gc', 'dates'], dates: hydra.gc.dates }]
      : []),
  ].flatMap(({ path, dates }) => {
    const instead = looksLikeCron(dates) ? calendarLine(dates) : undefined
    return instead === undefined ? [] : [at(path, `NixOS does not support cron lines; ${instead}`)]
  })
  if (!hydra.enable) return cron
  return [
    ...cron,
    ...(hydra.database.name === 'hydra'
      ? []
      : [
          at(
            ['hydra', 'database', 'name'],
            'the database of a NixOS machine is called "hydra"; services.hydra.dbi names another one',
          ),
        ]),
    ...(hydra.nginx.tls === 'self-signed'
      ? [
          at(
            ['hydra', 'nginx', 'tls'],
            'a NixOS machine does not create a certificate; use "files" with a certificate from deployment.keys, or "acme"',
          ),
        ]
      : []),
    ...(hydra.sendStats
      ? [at(['hydra', 'sendStats'], 'services.hydra of NixOS sends statistics by itself; remove the option')]
      : []),
    ...(made?.doubled ?? []).map((name) =>
      at(
        ['hydra', 'extraConfig'],
        `hydra.conf would have ${name} twice; move the line from services.hydra.extraConfig to deployment.hydra.extraConfig, which replaces hydra-ops' line`,
      ),
    ),
  ]
}

/** Suggests a calendar event to write instead of a line of cron. */
function calendarLine(dates: string): string {
  const read = calendarOf(dates)
  if ('problem' in read) return read.problem
  const [first = '', ...more] = read.events
  return more.length === 0
    ? `write ${JSON.stringify(first)}`
    : `choose one of ${[first, ...more].map((each) => JSON.stringify(each)).join(', ')}`
}
