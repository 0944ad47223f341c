import { MachineName } from './names.js'

/** Names of the set-up tasks whose outputs other machines read. */
export const keyTask = 'builder-key'
export const offerTask = 'builder'
export const useTask = 'builders'
export const cacheTask = 'builder-cache'
export const cachesTask = 'builder-caches'

/** User as whom other machines read a builder's store. The Nix daemon does not trust this user. */
export const cacheUser = 'nix-cache'

/** Name of the operator host in the list of machines that may build on a builder. */
export const operatorName = 'operator'

/** Builder lists that hydra-ops writes beside the machine's own lists, by the program that reads each list. */
export const builderLists = {
  'queue runner': '/etc/hydra/builders',
  daemon: '/etc/nix/hydra-ops-machines',
} as const

/**
 * Folder of markers: one file for each builder that gets no new builds. The file is empty if a user drained the
 * builder, and says `automatic` for a drain before a reboot.
 */
export const drainFolder = '/var/lib/hydra-ops/drained-builders'

/** A builder as its own set-up task offers it to other machines. */
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

/** Empty value of a field in a machines file. */
export const none = '-'

/** Writes a list as one field of a machines file. */
export function fieldOf(values: readonly string[]): string {
  return values.length === 0 ? none : [...new Set(values)].join(',')
}

/** Reads a list from one field of a machines file. */
export function valuesOf(field: string): string[] {
  return field === none ? [] : field.split(',')
}

/** Writes an offer as a task's public output: the fields of a machines file, without keys. */
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

/** Parses an offer from the state; returns `undefined` if the text is not an offer. */
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

/** Parses a list of machine names from a task's output. */
export function machinesIn(text: string | undefined): MachineName[] {
  return (text ?? '').split(',').flatMap((name) => (name === '' ? [] : MachineName.parse(name)))
}
