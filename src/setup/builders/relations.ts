import { machinesIn, offerTask, readOffer, useTask } from '../../core/builder-offer.js'
import type { MachineName } from '../../core/names.js'
import type { PeerMachine, TaskMachine } from '../../core/setup-task.js'
import { hydraGroup, hydraUsers } from '../hydra/settings.js'
import type { BuilderReader, UsedBuilder } from './entries.js'

/** Key pair with which a machine logs in to its builders. */
export interface BuilderKey {
  readonly file: string
  readonly user: string
  readonly group: string
  /** Folder of the key, which root owns and the group may enter. */
  readonly directory: string
}

/** Builders that a machine uses, and builders that have not offered themselves yet. */
export interface BuilderUse {
  readonly reader: BuilderReader
  readonly key: BuilderKey
  readonly builders: readonly UsedBuilder[]
  readonly awaited: readonly MachineName[]
}

/** Returns the builders of a machine; `undefined` if there are none, and none whose traces are to be removed. */
export function builderUse(machine: TaskMachine): BuilderUse | undefined {
  const builders: UsedBuilder[] = []
  const awaited: MachineName[] = []
  const { name } = machine.definition
  for (const [peerName, peer] of [...(machine.peers ?? [])].sort(([a], [b]) => a.localeCompare(b, 'en'))) {
    if (!offersTo(peer, name)) continue
    const offer = readOffer(peer.outputs[offerTask]?.entry)
    const { hostKey } = peer
    if (offer === undefined || hostKey === undefined) awaited.push(peerName)
    else builders.push({ ...offer, machine: peerName, hostKey })
  }
  const before = machine.outputs?.[useTask]?.builders ?? ''
  if (builders.length === 0 && awaited.length === 0 && before === '') return undefined
  const reader = machine.definition.options.hydra.enable ? 'queue runner' : 'daemon'
  return { reader, key: keyOf(reader), builders, awaited }
}

/** Says whether the machine's Nix daemon builds on machines of our list. */
export function usesDaemonBuilders(machine: TaskMachine): boolean {
  const use = builderUse(machine)
  return use?.reader === 'daemon' && use.builders.length + use.awaited.length > 0
}

/** Says whether a machine lets another one build there: by its definition, or else by its last offer. */
function offersTo({ definition, outputs, obsolete }: PeerMachine, user: MachineName): boolean {
  if (obsolete) return false
  if (definition === undefined) return machinesIn(outputs[offerTask]?.for).includes(user)
  const { builder } = definition.options
  return builder.enable && builder.for.includes(user)
}

/** Places the key in a folder of root, so that no service can make root write elsewhere by a link. */
function keyOf(reader: BuilderReader): BuilderKey {
  const directory = reader === 'daemon' ? '/etc/nix/hydra-ops-builders' : '/etc/hydra/builders-key'
  const file = `${directory}/key`
  return reader === 'daemon'
    ? { file, user: 'root', group: 'root', directory }
    : { file, user: hydraUsers.queueRunner, group: hydraGroup, directory }
}

/** Lists of builders that hydra-ops writes, beside those of the machine's own. */
export const listFiles: Readonly<Record<BuilderReader, string>> = {
  'queue runner': '/etc/hydra/builders',
  daemon: '/etc/nix/hydra-ops-machines',
}
