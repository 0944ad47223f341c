import { failure } from '../../core/errors.js'
import type { HydraOptions } from '../../core/hydra-options.js'
import type { TaskId } from '../../core/names.js'
import type { TaskMachine } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'

/** Paths of Hydra, as in the nixpkgs module. */
export const hydraHome = '/var/lib/hydra'
export const hydraConfigFile = '/etc/hydra/hydra.conf'
export const hydraMachinesFile = '/etc/hydra/machines'
export const queueRunnerFile = '/etc/hydra/queue-runner.toml'
export const builderFile = '/etc/hydra/builder.toml'
export const evaluatorFile = '/etc/hydra/evaluator.toml'
export const liveLogsFile = '/etc/hydra/ws.toml'
/** Port on 127.0.0.1 at which hydra-ws sends the logs of running builds; nginx forwards requests to this port. */
export const liveLogsPort = 9283
export const liveLogsPath = '/hydra-ws'
/** The script for the check of free disk space, which a timer runs. */
export const spaceFile = '/etc/hydra/check-space.sh'
/** Name of a folder in /run that only the queue runner's user may enter. */
export const runnerFolder = 'hydra-queue-runner'
/** Socket at which builders reach the queue runner. */
export const builderSocket = `/run/${runnerFolder}/builders.sock`
export const gcRoots = '/nix/var/nix/gcroots/hydra'

/** Hydra's users: the first user owns the database, the second builds and signs, the third serves pages. */
export const hydraUsers = {
  hydra: 'hydra',
  queueRunner: 'hydra-queue-runner',
  www: 'hydra-www',
} as const
export const hydraGroup = 'hydra'
/** The only group that Debian's nix-setup-systemd admits to the folder of the daemon's socket. */
export const nixSocketGroup = 'nix-users'
/** PostgreSQL role that owns the database. */
export const hydraRole = 'hydra'

/** Returns the values with which a script queries Hydra's database. */
export function databaseValues(database: string, port: number) {
  return { database, database_port: port, hydra_user: hydraUsers.hydra, role: hydraRole }
}

/** Options that all of Hydra's tasks use, with defaults filled in. */
export interface HydraSettings {
  readonly options: HydraOptions
  readonly hostName: string
  /** URL that users open, without a trailing slash. */
  readonly url: string
  /** TCP port of the machine that answers for the URL. */
  readonly port: number
  /** Place where TLS ends: nginx on the machine, the user's own proxy in front, or nowhere. */
  readonly tlsEnds: 'nginx' | 'before' | 'nowhere'
  readonly secretKeyFile: string
  readonly publicKeyFile: string
  /** The system that starts Hydra's services, if no set-up task starts them. */
  readonly startedBy?: 'nixos'
}

/**
 * Returns the settings of a Hydra that tasks set up; `undefined` if the machine has none. NixOS sets up Hydra without
 * these tasks.
 */
export function hydraSettings(machine: TaskMachine): HydraSettings | undefined {
  return machine.definition.os === 'debian' ? settingsOf(machine) : undefined
}

/**
 * Returns the settings for a task that NixOS machines need too. The result of such a task is not part of a
 * configuration: keys, users, a proof. The function returns `undefined` if the machine has no Hydra, or if a service
 * of the machine does the work.
 */
export function oneShotSettings(machine: TaskMachine, task: TaskId): HydraSettings | undefined {
  const { definition } = machine
  if (definition.os === 'nixos' && definition.leftAlone?.[task] !== undefined) return undefined
  return settingsOf(machine)
}

function settingsOf(machine: TaskMachine): HydraSettings | undefined {
  const {
    name,
    options: { hydra: options },
  } = machine.definition
  if (!options.enable) return undefined
  const hostName = options.hostName ?? name
  const { nginx } = options
  const encrypted = nginx.enable && nginx.tls !== 'none'
  const port = encrypted ? 443 : nginx.enable ? 80 : options.port
  const scheme = encrypted ? 'https' : 'http'
  const url =
    options.url?.replace(/\/$/, '') ?? urlOf(machine, { scheme, port, hostName: nginx.hostName ?? hostName })
  return {
    options,
    hostName,
    url,
    port,
    tlsEnds: encrypted ? 'nginx' : url.startsWith('https:') ? 'before' : 'nowhere',
    secretKeyFile: options.cache.secretKeyFile ?? `/etc/nix/${name}/secret`,
    publicKeyFile: options.cache.publicKeyFile ?? `/etc/nix/${name}/public`,
    ...(machine.definition.os === 'nixos' ? { startedBy: 'nixos' } : {}),
  }
}

/**
 * Options that do not concern Hydra's daemons; the daemons only need to know whether nix-serve and nginx are enabled.
 */
const notOfDaemons = [
  'admin',
  'users',
  'probe',
  'projects',
  'nginx',
  'openFirewall',
  'gc',
  'trustedUsers',
  'autoOptimiseStore',
  'nixServe',
] as const

/** Settings that Hydra's daemons use. A change of any other option does not run the daemons' task again. */
export type DaemonSettings = Omit<HydraSettings, 'options' | 'port' | 'tlsEnds'> & {
  readonly options: Omit<HydraOptions, (typeof notOfDaemons)[number]> & {
    readonly nixServe: Pick<HydraOptions['nixServe'], 'enable'>
    readonly nginx: Pick<HydraOptions['nginx'], 'enable'>
  }
}

/** Reduces the settings to the part for the daemons; returns `undefined` if the machine has no Hydra. */
export function daemonSettings(machine: TaskMachine): DaemonSettings | undefined {
  const settings = hydraSettings(machine)
  if (settings === undefined) return undefined
  const { options } = settings
  const { nixServe, nginx } = options
  const enabled = { nixServe: { enable: nixServe.enable }, nginx: { enable: nginx.enable } }
  const ofDaemons = { ...omit(options, notOfDaemons), ...enabled }
  return { ...omit(settings, ['options', 'port', 'tlsEnds']), options: ofDaemons }
}

/** Tells whether the package has hydra-ws, and a browser can reach hydra-ws through nginx. */
export function hasLiveLogs(
  { options }: { readonly options: Pick<DaemonSettings['options'], 'nginx'> },
  programs: ReadonlySet<string> | undefined,
): boolean {
  return options.nginx.enable && programs?.has('hydra-ws') === true
}

function omit<T extends object, Name extends keyof T>(from: T, names: readonly Name[]): Omit<T, Name>
function omit(from: object, names: readonly string[]): object {
  return Object.fromEntries(Object.entries(from).filter(([name]) => !names.includes(name)))
}

/** Way to query the web interface on the machine itself, as its users do. */
export interface WebEntrance {
  /** URL that users open. */
  readonly url: string
  /** TCP port at which the machine answers. */
  readonly port: number
  /** Whether TLS ends on the machine. The port speaks plain HTTP if not, even for an https URL. */
  readonly encrypted: boolean
  /** Headers that the user's own proxy would add, and that hydra-ops must add without nginx. */
  readonly headers: Readonly<Record<string, string>>
  /** The system that starts Hydra; no task has waited for Hydra's first answer then. */
  readonly startedBy?: 'nixos'
}

/** Describes how to query the web interface on the machine. */
export function webEntrance({
  url,
  port,
  tlsEnds,
  startedBy,
  options: { nginx },
}: Pick<HydraSettings, 'url' | 'port' | 'tlsEnds' | 'startedBy'> & {
  readonly options: { readonly nginx: Pick<HydraOptions['nginx'], 'enable'> }
}): WebEntrance {
  const proto = !nginx.enable && tlsEnds === 'before' ? { 'x-forwarded-proto': 'https' } : {}
  const started = startedBy === undefined ? {} : { startedBy }
  return { url, port, encrypted: tlsEnds === 'nginx', headers: proto, ...started }
}

function urlOf(
  machine: TaskMachine,
  { scheme, port, hostName }: { scheme: 'http' | 'https'; port: number; hostName: string },
): string {
  const published = machine.publishedPort(port)
  if (published !== undefined) return `${scheme}://${published.host}:${published.port}`
  return port === 80 || port === 443 ? `${scheme}://${hostName}` : `${scheme}://${hostName}:${port}`
}

/** Returns the address at which the machine itself reaches a listening service. */
export function reachedAt(listens: string): string {
  return listens === '0.0.0.0' || listens === '::' ? '127.0.0.1' : listens
}

/** Address at which postfix accepts mail on the machine itself. */
export const mailHost = '127.0.0.1'

/**
 * Returns Hydra's SMTP server; `undefined` makes Hydra look for sendmail(1). sendmail needs a set-group-ID program,
 * which Hydra's units forbid (NoNewPrivileges), so postfix gets mail over SMTP too.
 */
export function mailServer({ options }: DaemonSettings): string | undefined {
  return options.smtpHost ?? (options.postfix.enable ? mailHost : undefined)
}

/** Says whether any cache on this machine needs a signing key. */
export function signs({
  options,
}: {
  readonly options: {
    readonly cache: Pick<HydraOptions['cache'], 'enable'>
    readonly nixServe: Pick<HydraOptions['nixServe'], 'enable'>
  }
}): boolean {
  return options.cache.enable || options.nixServe.enable
}

/** Builds the error for a missing package, with the option that sets the package. */
export function noPackage(host: Host, name: 'Hydra' | 'nix-serve', option: string): Error {
  return failure('NO_PACKAGE', `machine '${host.machine}': there is no package of ${name}`, {
    machine: host.machine,
    hint: `set deployment.hydra.${option} to a derivation or a store path, or give the network a nixpkgs (network.nixpkgs)`,
  })
}
