import { failure } from '../../core/errors.js'
import type { HydraOptions } from '../../core/hydra-options.js'
import type { TaskMachine } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'

/** Where things of Hydra lie; as nixpkgs' module has them. */
export const hydraHome = '/var/lib/hydra'
export const hydraConfigFile = '/etc/hydra/hydra.conf'
export const hydraMachinesFile = '/etc/hydra/machines'
export const queueRunnerFile = '/etc/hydra/queue-runner.toml'
export const builderFile = '/etc/hydra/builder.toml'
export const evaluatorFile = '/etc/hydra/evaluator.toml'
/** A script that a timer runs. */
export const spaceFile = '/etc/hydra/check-space.sh'
/** Below /run; its own user's alone. */
export const runnerFolder = 'hydra-queue-runner'
/** Where builders come to the queue runner. */
export const builderSocket = `/run/${runnerFolder}/builders.sock`
export const gcRoots = '/nix/var/nix/gcroots/hydra'

/** Hydra's users; the first one owns the database, the second one builds and signs, the third one serves pages. */
export const hydraUsers = {
  hydra: 'hydra',
  queueRunner: 'hydra-queue-runner',
  www: 'hydra-www',
} as const
export const hydraGroup = 'hydra'
/** Debian's nix-setup-systemd lets only this group into the folder of the daemon's socket. */
export const nixSocketGroup = 'nix-users'
/** The role that owns the database. */
export const hydraRole = 'hydra'

/** Values by which a script asks Hydra's database. */
export function databaseValues(database: string, port: number) {
  return { database, database_port: port, hydra_user: hydraUsers.hydra, role: hydraRole }
}

/** The options by which all of Hydra's tasks go, with defaults filled in. */
export interface HydraSettings {
  readonly options: HydraOptions
  readonly hostName: string
  /** What users open; no slash at its end. */
  readonly url: string
  /** The TCP port of the machine that answers there. */
  readonly port: number
  /** The place where what users send is decrypted: nginx of the machine, a proxy of the user's before it, or none. */
  readonly tlsEnds: 'nginx' | 'before' | 'nowhere'
  readonly secretKeyFile: string
  readonly publicKeyFile: string
}

/** Undefined = no Hydra is wanted on this machine. */
export function hydraSettings(machine: TaskMachine): HydraSettings | undefined {
  const { definition } = machine
  if (definition.os !== 'debian' || !definition.options.hydra.enable) return undefined
  const {
    name,
    options: { hydra: options },
  } = definition
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
  }
}

/** Options that do not concern Hydra's daemons, except that nix-serve is there. */
const notOfDaemons = [
  'admin',
  'users',
  'probe',
  'nginx',
  'openFirewall',
  'gc',
  'trustedUsers',
  'autoOptimiseStore',
  'nixServe',
] as const

/** The options by which Hydra's daemons go. A change of any other option does not run the task of the daemons again. */
export type DaemonSettings = Omit<HydraSettings, 'options' | 'port' | 'tlsEnds'> & {
  readonly options: Omit<HydraOptions, (typeof notOfDaemons)[number]> & {
    readonly nixServe: Pick<HydraOptions['nixServe'], 'enable'>
  }
}

/** Reduces the settings to those of the daemons; undefined = no Hydra is wanted on this machine. */
export function daemonSettings(machine: TaskMachine): DaemonSettings | undefined {
  const settings = hydraSettings(machine)
  if (settings === undefined) return undefined
  const { options } = settings
  const ofDaemons = { ...omit(options, notOfDaemons), nixServe: { enable: options.nixServe.enable } }
  return { ...omit(settings, ['options', 'port', 'tlsEnds']), options: ofDaemons }
}

function omit<T extends object, Name extends keyof T>(from: T, names: readonly Name[]): Omit<T, Name>
function omit(from: object, names: readonly string[]): object {
  return Object.fromEntries(Object.entries(from).filter(([name]) => !names.includes(name)))
}

/** How the web interface is asked at the machine itself, in place of its users. */
export interface WebEntrance {
  /** What users open. */
  readonly url: string
  /** The TCP port of the machine that answers. */
  readonly port: number
  /** TLS ends on the machine; else the port speaks plain HTTP, whatever the URL begins with. */
  readonly encrypted: boolean
  /** What a proxy of the user's has to add, where no nginx of ours does. */
  readonly headers: Readonly<Record<string, string>>
}

/** Tells how the port is to be asked. */
export function webEntrance({
  url,
  port,
  tlsEnds,
  options: { nginx },
}: Pick<HydraSettings, 'url' | 'port' | 'tlsEnds'> & {
  readonly options: { readonly nginx: Pick<HydraOptions['nginx'], 'enable'> }
}): WebEntrance {
  const proto = !nginx.enable && tlsEnds === 'before' ? { 'x-forwarded-proto': 'https' } : {}
  return { url, port, encrypted: tlsEnds === 'nginx', headers: proto }
}

function urlOf(
  machine: TaskMachine,
  { scheme, port, hostName }: { scheme: 'http' | 'https'; port: number; hostName: string },
): string {
  const published = machine.publishedPort(port)
  if (published !== undefined) return `${scheme}://${published.host}:${published.port}`
  return port === 80 || port === 443 ? `${scheme}://${hostName}` : `${scheme}://${hostName}:${port}`
}

/** Where the machine itself reaches a service that listens at an address. */
export function reachedAt(listens: string): string {
  return listens === '0.0.0.0' || listens === '::' ? '127.0.0.1' : listens
}

/** Where postfix takes mail on the machine itself. */
export const mailHost = '127.0.0.1'

/**
 * Finds the server that Hydra hands its mails to by SMTP; undefined = Hydra looks for sendmail(1). sendmail needs a
 * set-group-ID program, which the units of Hydra forbid (NoNewPrivileges), so postfix is given mails by SMTP too.
 */
export function mailServer({ options }: DaemonSettings): string | undefined {
  return options.smtpHost ?? (options.postfix.enable ? mailHost : undefined)
}

/** Does anything on this machine sign? */
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

/** Makes the error for a package that is missing, with the option that gives one. */
export function noPackage(host: Host, name: 'Hydra' | 'nix-serve', option: string): Error {
  return failure('NO_PACKAGE', `machine '${host.machine}': there is no package of ${name}`, {
    machine: host.machine,
    hint: `set deployment.hydra.${option} to a derivation or a store path, or give the network a nixpkgs (network.nixpkgs)`,
  })
}
