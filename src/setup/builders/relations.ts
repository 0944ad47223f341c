import type { BuilderReader, UsedBuilder } from '../../core/builder-entries.js'
import {
  builderLists,
  cachesTask,
  cacheTask,
  offerTask,
  readOffer,
  useTask,
} from '../../core/builder-offer.js'
import { usersOf } from '../../core/builder-users.js'
import type { MachineName } from '../../core/names.js'
import type { PeerMachine, TaskMachine } from '../../core/setup-task.js'
import { hydraGroup, hydraUsers } from '../hydra/settings.js'

/** Key pair with which a machine logs in to its builders. */
export interface BuilderKey {
  readonly file: string
  readonly user: string
  readonly group: string
  /** Folder of the key, which root owns and the group may enter. */
  readonly directory: string
}

/** Builders that a machine uses, and builders that are not set up yet. */
export interface BuilderUse {
  readonly reader: BuilderReader
  readonly key: BuilderKey
  readonly builders: readonly UsedBuilder[]
  readonly awaited: readonly MachineName[]
}

/** A builder from which a machine fetches. */
export interface UsedCache extends Pick<UsedBuilder, 'machine' | 'host' | 'port' | 'hostKey'> {
  /** The public key that verifies the signatures. */
  readonly publicKey: string
  /** Store path that only the builder has, for proofs. */
  readonly sample: string
}

/** Caches that a machine uses, and builders whose caches are not set up yet. */
export interface CacheUse {
  readonly key: BuilderKey
  readonly caches: readonly UsedCache[]
  readonly awaited: readonly MachineName[]
}

/** Returns the builders of a machine; `undefined` if there are neither builders nor traces to remove. */
export function builderUse(machine: TaskMachine): BuilderUse | undefined {
  const builders: UsedBuilder[] = []
  const awaited: MachineName[] = []
  const { name } = machine.definition
  for (const [peerName, peer] of peersOf(machine, (each) => offersTo(each, name))) {
    const offer = readOffer(peer.outputs[offerTask]?.entry)
    const { hostKey } = peer
    if (offer === undefined || hostKey === undefined) awaited.push(peerName)
    else builders.push({ ...offer, machine: peerName, hostKey })
  }
  // A machine whose builders are all awaited has a key already.
  const { builders: before = '', awaited: keyed = '' } = machine.outputs?.[useTask] ?? {}
  if (builders.length === 0 && awaited.length === 0 && before === '' && keyed === '') return undefined
  const reader = readerOf(machine)
  return { reader, key: keyOf(reader), builders, awaited }
}

/**
 * Returns the builders from which a machine fetches; `undefined` if there are neither builders nor traces to remove.
 */
export function cacheUse(machine: TaskMachine): CacheUse | undefined {
  const caches: UsedCache[] = []
  const awaited: MachineName[] = []
  const { name } = machine.definition
  for (const [peerName, peer] of peersOf(machine, (each) => offersCacheTo(each, name))) {
    const offer = readOffer(peer.outputs[offerTask]?.entry)
    const { publicKey = '', sample = '' } = peer.outputs[cacheTask] ?? {}
    const { hostKey } = peer
    if (offer === undefined || hostKey === undefined || publicKey === '') awaited.push(peerName)
    else caches.push({ machine: peerName, host: offer.host, port: offer.port, hostKey, publicKey, sample })
  }
  const before = machine.outputs?.[cachesTask]?.caches ?? ''
  if (caches.length === 0 && awaited.length === 0 && before === '') return undefined
  return { key: keyOf(readerOf(machine)), caches, awaited }
}

/** Says whether the settings of the machine's Nix include the settings for caches. */
export function usesCaches(machine: TaskMachine): boolean {
  const use = cacheUse(machine)
  return use !== undefined && use.caches.length + use.awaited.length > 0
}

/** Says whether a machine lets another machine fetch: by its definition, or else by its last outputs. */
function offersCacheTo(peer: PeerMachine, user: MachineName): boolean {
  if (!offersTo(peer, user)) return false
  const { definition, outputs } = peer
  return definition?.options.builder.cache.enable ?? (outputs[cacheTask]?.publicKey ?? '') !== ''
}

/**
 * Lists the other machines that offer something, sorted by name. Filtering comes before sorting, because few machines
 * of a fleet offer anything.
 */
function peersOf(
  { peers, definition }: TaskMachine,
  offers: (peer: PeerMachine) => boolean,
): [MachineName, PeerMachine][] {
  return [...(peers ?? [])]
    .filter(([name, peer]) => name !== definition.name && offers(peer))
    .sort(([a], [b]) => a.localeCompare(b, 'en'))
}

function readerOf({ definition }: TaskMachine): BuilderReader {
  return definition.options.hydra.enable ? 'queue runner' : 'daemon'
}

/** Says whether the machine's Nix daemon builds on machines of hydra-ops's list. */
export function usesDaemonBuilders(machine: TaskMachine): boolean {
  const use = builderUse(machine)
  return use?.reader === 'daemon' && use.builders.length + use.awaited.length > 0
}

/** Says whether a machine lets another machine build there. */
function offersTo(peer: PeerMachine, user: MachineName): boolean {
  return usersOf(peer).includes(user)
}

/** Places the key in a folder of root, so that no service can redirect root's writes with a symbolic link. */
function keyOf(reader: BuilderReader): BuilderKey {
  const directory = reader === 'daemon' ? '/etc/nix/hydra-ops-builders' : '/etc/hydra/builders-key'
  const file = `${directory}/key`
  return reader === 'daemon'
    ? { file, user: 'root', group: 'root', directory }
    : { file, user: hydraUsers.queueRunner, group: hydraGroup, directory }
}

/** Returns the list and the key's folder of the other reader, as a machine has them that got or lost a Hydra. */
export function otherPlaces(reader: BuilderReader): readonly string[] {
  const other = reader === 'daemon' ? 'queue runner' : 'daemon'
  return [listFiles[other], keyOf(other).directory]
}

/** Builder lists that hydra-ops writes, beside the machine's own lists. */
export const listFiles: Readonly<Record<BuilderReader, string>> = builderLists
