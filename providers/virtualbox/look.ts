import { dirname } from 'node:path'
import type { Observation } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { allDisks } from '../common/disks.js'
import { unknownState } from '../common/look.js'
import { foreign } from '../common/places.js'
import { type MachineFacts, parseMachine } from './machine-facts.js'
import { type Medium, parseMedia } from './media.js'
import { machineUuid } from './names.js'
import { type Places, placesOf, readNote, type VirtualBoxParts, type VirtualBoxResource } from './places.js'
import { createVBoxManage, isAbsent, type VBoxManage, vboxError } from './vboxmanage.js'

/** The object that VirtualBox has under a machine's name: none, a foreign object, or the machine itself. */
export type Seen =
  | { readonly kind: 'absent' }
  | { readonly kind: 'foreign'; readonly what: string }
  /** VirtualBox lists the machine, but cannot read its settings, which were moved or lost. */
  | { readonly kind: 'inaccessible'; readonly uuid: string }
  | SeenMachine

export interface SeenMachine {
  readonly kind: 'machine'
  readonly facts: MachineFacts
  readonly mark: Mark
}

/** hydra-ops's marks on a machine, stored as extra data. */
export interface Mark {
  readonly deployment: string | undefined
  readonly machine: string | undefined
  /** Hash of the settings that were applied. */
  readonly spec: string | undefined
  /** Hash of the applied settings at each snapshot, by the snapshot's UUID. */
  readonly snapshots: ReadonlyMap<string, string>
}

export const markKeys = {
  deployment: 'hydra-ops/deployment',
  machine: 'hydra-ops/machine',
  spec: 'hydra-ops/spec',
} as const

/** Prefix of the keys that hold the marks of snapshots. A restore does not change VirtualBox's extra data. */
export const snapshotKey = 'hydra-ops/snapshot/'

/** States of a machine without a process. A machine in any other state runs, starts or stops. */
const offWords: ReadonlySet<string> = new Set(['poweroff', 'aborted', 'saved', 'aborted-saved'])

/**
 * States of a machine whose process does nothing. A start revives such a machine, but an ACPI request does not reach
 * it.
 */
const stuckWords: ReadonlySet<string> = new Set(['paused', 'gurumeditation', 'stuck'])

export function isActive({ state }: Pick<MachineFacts, 'state'>): boolean {
  return !offWords.has(state)
}

export function isStuck({ state }: Pick<MachineFacts, 'state'>): boolean {
  return stuckWords.has(state)
}

/** Tells whether the machine is off with saved memory, from which the next start continues. */
export function hasSavedMemory({ state }: Pick<MachineFacts, 'state'>): boolean {
  return state === 'saved' || state === 'aborted-saved'
}

/** One line of the output of `list vms`. */
export interface ListedMachine {
  readonly name: string
  readonly uuid: string
}

export const inaccessibleName = '<inaccessible>'

export function parseList(text: string): ListedMachine[] {
  return [...text.matchAll(/^"(.*)" \{([0-9a-f-]{36})\}$/gm)].map(([, name = '', uuid = '']) => ({
    name,
    uuid,
  }))
}

/** Parses lines such as `Key: k, Value: v`; a value may span lines. */
export function parseExtraData(text: string): Map<string, string> {
  return new Map(
    text.split(/^Key: /m).flatMap((entry) => {
      const [, key, value] = /^([^\n]*?), Value: ([\s\S]*?)\n?$/.exec(entry) ?? []
      return key === undefined || value === undefined ? [] : [[key, value] as const]
    }),
  )
}

export async function readMark(vbox: VBoxManage, uuid: string, run: Run): Promise<Mark | undefined> {
  const call = { what: `read the marks of machine ${uuid}` }
  const outcome = await vbox.attempt(['getextradata', uuid, 'enumerate'], call, run)
  if (outcome.kind === 'failed') {
    // The machine disappeared, or lost its settings file, while hydra-ops looked at it.
    if (isGone(outcome.failure.complaint)) return undefined
    throw vboxError(outcome.failure, call)
  }
  const data = parseExtraData(outcome.stdout)
  return {
    deployment: data.get(markKeys.deployment),
    machine: data.get(markKeys.machine),
    spec: data.get(markKeys.spec),
    snapshots: new Map(
      [...data].flatMap(([key, value]) =>
        key.startsWith(snapshotKey) ? [[key.slice(snapshotKey.length), value] as const] : [],
      ),
    ),
  }
}

function isGone(complaint: string): boolean {
  return complaint === 'not-found' || complaint === 'inaccessible'
}

/** Looks for the machine of that name, and for files in its folder; foreign objects are only named. */
export async function look(
  vbox: VBoxManage,
  places: Places,
  resource: VirtualBoxResource,
  run: Run,
): Promise<Seen> {
  const { name, machine } = resource
  const uuid = machineUuid(name)
  const note = readNote(places, resource)
  const call = { what: `look at machine '${name}'`, machine }
  const shown = await vbox.attempt(['showvminfo', uuid, '--machinereadable'], call, run)
  if (shown.kind === 'failed') {
    if (shown.failure.complaint === 'inaccessible') return { kind: 'inaccessible', uuid }
    if (shown.failure.complaint !== 'not-found') throw vboxError(shown.failure, call)
    const listed = parseList(await vbox.must(['list', 'vms'], call, run))
    const other = listed.find((each) => each.name === name)
    if (other !== undefined) return { kind: 'foreign', what: `machine '${name}' {${other.uuid}}` }
    return note.kind === 'foreign' ? { kind: 'foreign', what: note.what } : { kind: 'absent' }
  }
  const facts = parseMachine(shown.stdout)
  const mark = await readMark(vbox, uuid, run)
  if (mark === undefined) return { kind: 'absent' }
  // A crash may have come before the marks were complete; the note then claims the machine.
  const claimed = mark.deployment === undefined && mark.machine === undefined && note.kind === 'ours'
  const marked = mark.deployment === resource.deployment.uuid && mark.machine === machine
  const half = mark.deployment === resource.deployment.uuid && mark.machine === undefined
  if (!marked && !(half && note.kind === 'ours') && !(claimed && facts.settings === places.settings))
    return { kind: 'foreign', what: `machine '${name}' {${uuid}}` }
  return { kind: 'machine', facts, mark }
}

/** Looks as `look` does, but throws an error for foreign objects. */
export async function lookAtOurs(
  vbox: VBoxManage,
  places: Places,
  resource: VirtualBoxResource,
  run: Run,
): Promise<Exclude<Seen, { kind: 'foreign' }>> {
  const seen = await look(vbox, places, resource, run)
  if (seen.kind === 'foreign') throw foreign(resource, seen.what)
  return seen
}

/**
 * Lists the disks that VirtualBox has registered, if the machine's own list is not enough. Snapshots and linked
 * clones base one disk on another, and a foreign disk may be attached.
 */
export async function lookAtChains(
  vbox: VBoxManage,
  { machine, config, handle }: VirtualBoxResource,
  { settings, hasSnapshots, attached }: MachineFacts,
  run: Run,
): Promise<Medium[]> {
  const ours = new Set(handle === undefined ? [] : allDisks(handle))
  const strange = [...attached.values()].some(
    (path) => !ours.has(path) && dirname(path) !== dirname(settings),
  )
  return hasSnapshots || strange || config.linkedClone ? lookAtMedia(vbox, machine, run) : []
}

/** Lists the disks that VirtualBox has registered. */
export async function lookAtMedia(vbox: VBoxManage, machine: string, run: Run): Promise<Medium[]> {
  return parseMedia(await vbox.must(['list', 'hdds'], { what: 'list the disks', machine }, run))
}

export async function inspect(
  parts: VirtualBoxParts,
  resource: VirtualBoxResource,
  run: Run,
): Promise<Observation> {
  try {
    const seen = await look(createVBoxManage(parts), placesOf(resource), resource, run)
    if (seen.kind === 'inaccessible')
      return { kind: 'stopped', detail: 'its settings are not where they were' }
    if (seen.kind !== 'machine') return seen
    const { facts } = seen
    // A stuck machine counts as stopped, because a start makes it run again.
    return { kind: isActive(facts) && !isStuck(facts) ? 'running' : 'stopped', detail: facts.state }
  } catch (error) {
    if (!isAbsent(error)) throw error
    return unknownState(error)
  }
}
