import { MachineName } from './names.js'

/** Names of the tasks, whose outputs other machines read. */
export const keyTask = 'builder-key'
export const offerTask = 'builder'
export const useTask = 'builders'
export const cacheTask = 'builder-cache'
export const cachesTask = 'builder-caches'

/** User by whom other machines read a builder's store; the Nix daemon does not trust this user. */
export const cacheUser = 'nix-cache'

/** Name of the operator host among those who build on a machine. */
export const operatorName = 'operator'

/** Builder lists that hydra-ops writes, beside the machine's own lists; keyed by the program that reads the list. */
export const builderLists = {
  'queue runner': '/etc/hydra/builders',
  daemon: '/etc/nix/hydra-ops-machines',
} as const

/**
 * Folder of marks: a file for each builder that gets no new builds. The file of a person's drain is empty; that of a
 * drain before a reboot says `automatic`.
 */
export const drainFolder = '/var/lib/hydra-ops/drained-builders'

/** A builder as its own set-up task offers the builder to other machines. */
export interface BuilderOffer {
  /** The user for the logins. */
  readonly user: string
  readonly host: string
  readonly port: number
  readonly systems: readonly string[]
  readonly maxJobs: number
  readonly speedFactor: number
  readonly supportedFeatures: readonly string[]
  readonly mandatoryFeatures: readonly string[]
}

/** Field of a machines file without a value. */
export const none = '-'

/** Writes a list as one field. */
export function fieldOf(values: readonly string[]): string {
  return values.length === 0 ? none : [...new Set(values)].join(',')
}

/** Reads a list from one field. */
export function valuesOf(field: string): string[] {
  return field === none ? [] : field.split(',')
}

/** Writes an offer as the public output of a task: the fields of a machines file, without keys. */
export function offerText(offer: BuilderOffer): string {
  const { user, host, port, supportedFeatures, mandatoryFeatures } = offer
  const features = [...supportedFeatures, ...mandatoryFeatures]
  return [
    `${user}@${host}:${port}`,
    fieldOf(offer.systems),
    String(offer.maxJobs),
    String(offer.speedFactor),
    fieldOf(features),
    fieldOf(mandatoryFeatures),
  ].join(' ')
}

/** Reads an offer from the state; returns `undefined` if the text is none. */
export function readOffer(text: string | undefined): BuilderOffer | undefined {
  const found = /^([^@\s]+)@(\S+):(\d+) (\S+) (\d+) (\d+) (\S+) (\S+)$/.exec(text ?? '')
  if (found === null) return undefined
  const [, user = '', host = '', port, systems = '', maxJobs, speedFactor, features = '', mandatory = ''] =
    found
  return {
    user,
    host,
    port: Number(port),
    systems: valuesOf(systems),
    maxJobs: Number(maxJobs),
    speedFactor: Number(speedFactor),
    supportedFeatures: valuesOf(features),
    mandatoryFeatures: valuesOf(mandatory),
  }
}

/** Reads a list of machines from a task's output. */
export function machinesIn(text: string | undefined): MachineName[] {
  return (text ?? '').split(',').flatMap((name) => (name === '' ? [] : MachineName.parse(name)))
}
