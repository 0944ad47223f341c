import { existsSync, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Run } from '../../src/core/run.js'
import { allDisks } from '../common/disks.js'
import { writeIdentity } from '../common/identity.js'
import { foreign } from '../common/places.js'
import type { ControllerName, VirtualBoxHandle } from './config.js'
import { createSeed } from './disks.js'
import { guestOf, identityMethod } from './guest.js'
import { lookAtChains, lookAtMedia, markKeys, type SeenMachine } from './look.js'
import { type MachineFacts, parseMachine } from './machine-facts.js'
import { type MachineSpec, portCount, settingsArgs, specDigest } from './machine-spec.js'
import { ancestorsOf, type Medium, ownerOf } from './media.js'
import { ruleSteps } from './network.js'
import {
  type Places,
  placesOf,
  readNote,
  type VirtualBoxParts,
  type VirtualBoxResource,
  writeNote,
} from './places.js'
import { readSnapshots } from './snapshot-facts.js'
import type { VBoxManage } from './vboxmanage.js'

/** A machine that is off, and its wanted form. */
export interface Definition {
  readonly resource: VirtualBoxResource
  readonly handle: VirtualBoxHandle
  readonly seen: SeenMachine
  readonly spec: MachineSpec
}

/** Brings the settings of a machine that is off to the wanted form. Each step may be repeated after a crash. */
export async function defineMachine(
  parts: VirtualBoxParts,
  vbox: VBoxManage,
  definition: Definition,
  run: Run,
): Promise<void> {
  const { spec, seen } = definition
  const call = callOf(definition)
  await ensureController(vbox, definition, run)
  await placeSeed(parts, vbox, definition, run)
  await attachDisks(vbox, definition, run)
  const changed = seen.mark.spec !== specDigest(spec)
  const args = settingsChange(definition)
  if (args.length > 0) await vbox.mustUnlocked(['modifyvm', seen.facts.uuid, ...args], call, run)
  await shareFolders(vbox, definition, changed, run)
  mkdirSync(dirname(spec.console), { recursive: true, mode: 0o700 })
  if (changed) await mark(vbox, seen.facts.uuid, { spec: specDigest(spec) }, call, run)
}

function callOf({ resource }: Pick<Definition, 'resource'>) {
  return { what: `define machine '${resource.name}'`, machine: resource.machine }
}

/** Writes hydra-ops's marks into a machine's extra data. */
export async function mark(
  vbox: VBoxManage,
  uuid: string,
  values: Readonly<Partial<Record<keyof typeof markKeys, string>>>,
  call: { readonly what: string; readonly machine: string },
  run: Run,
): Promise<void> {
  for (const key of ['deployment', 'machine', 'spec'] as const) {
    const value = values[key]
    if (value !== undefined) await vbox.mustUnlocked(['setextradata', uuid, markKeys[key], value], call, run)
  }
}

/** Returns the due arguments of `modifyvm`: all settings, or only the forwarded ports. */
function settingsChange({ spec, seen, resource }: Definition): string[] {
  const rules = ruleSteps(seen.facts, spec.forwards, resource.allocation.sshPort)
  const ports = rules.flatMap((step) => ['--natpf1', ...step])
  if (seen.mark.spec === specDigest(spec) && !differsByHand(seen.facts, spec)) return ports
  return [...repeatedRules(seen.facts, spec.vmFlags), ...settingsArgs(spec), ...ports]
}

/** Removes rules that the user's flags add again, because VirtualBox refuses a rule whose name already exists. */
function repeatedRules({ rules }: MachineFacts, flags: readonly string[]): string[] {
  return flags.flatMap((flag, index) => {
    const name = /^--nat-?pf\d+$/.test(flag) ? flags[index + 1]?.split(',')[0] : undefined
    return name !== undefined && rules.some((rule) => rule.name === name) ? [flag, 'delete', name] : []
  })
}

/** Tells whether settings of hydra-ops were changed directly in VirtualBox, where the mark stays unchanged. */
export function differsByHand(facts: MachineFacts, spec: MachineSpec): boolean {
  return (
    facts.memoryMiB !== spec.memoryMiB ||
    facts.vcpu !== spec.vcpu ||
    facts.firmware !== spec.firmware ||
    facts.serial !== `file,${spec.console}` ||
    facts.nics.get(1) !== 'nat'
  )
}

async function ensureController(vbox: VBoxManage, definition: Definition, run: Run): Promise<void> {
  const { facts } = definition.seen
  const { controller } = definition.spec
  const ports = facts.controllers.get(controller)
  if (ports !== undefined && ports >= portCount) return
  const kind = ports === undefined ? controllerKind[controller] : []
  const args = ['--name', controller, ...kind, '--portcount', String(portCount)]
  const rest = ports === undefined ? ['--bootable', 'on', '--hostiocache', 'on'] : []
  await vbox.mustUnlocked(['storagectl', facts.uuid, ...args, ...rest], callOf(definition), run)
}

const controllerKind: Readonly<Record<ControllerName, readonly string[]>> = {
  SATA: ['--add', 'sata'],
  VIRTIO: ['--add', 'virtio', '--controller', 'VirtIO'],
}

/**
 * Writes the identity for the next boot to a seed disk. A new seed disk keeps the old UUID, because the old disk may
 * be attached or part of a snapshot.
 */
async function placeSeed(
  parts: VirtualBoxParts,
  vbox: VBoxManage,
  definition: Definition,
  run: Run,
): Promise<void> {
  const { resource, handle, spec } = definition
  const places = placesOf({ ...resource, handle })
  const method = identityMethod(resource, handle.image)
  const found = readNote(places, resource)
  if (method !== 'nocloud' || found.kind !== 'ours') return
  if (found.note.identity === spec.identity && existsSync(places.seedDisk)) return
  const media = await lookAtMedia(vbox, resource.machine, run)
  const known = media.find(({ location }) => location === places.seedDisk)?.uuid
  await writeIdentity(parts.local, places, guestOf(resource), method, run)
  await createSeed(parts, vbox, places, { machine: resource.machine, uuid: known }, run)
  await writeNote(places, { ...found.note, identity: spec.identity })
}

async function detach(
  vbox: VBoxManage,
  uuid: string,
  slot: string,
  call: { readonly what: string; readonly machine: string },
  run: Run,
): Promise<void> {
  const [, controller = '', port = '', device = ''] = /^(.*)-(\d+)-(\d+)$/.exec(slot) ?? []
  const args = ['--storagectl', controller, '--port', port, '--device', device, '--medium', 'none']
  const outcome = await vbox.attemptUnlocked(['storageattach', uuid, ...args], call, run)
  if (outcome.kind === 'done' || outcome.failure.complaint === 'not-found') return
  await vbox.must(['storageattach', uuid, ...args], call, run)
}

/** Names hydra-ops's attached disks by slot. The value is undefined for a foreign disk. */
export function attachedDisks(
  facts: MachineFacts,
  handle: VirtualBoxHandle,
  media: readonly Medium[],
  places: Places,
): Map<string, string | undefined> {
  const ours = new Set([...allDisks(handle), places.seedDisk])
  return new Map([...facts.attached].map(([slot, path]) => [slot, ownerOf(path, media, ours)]))
}

/**
 * Attaches each disk at its port, and detaches hydra-ops's disks from other ports. Refuses a foreign disk at a
 * needed port. Otherwise VirtualBox would replace that disk silently.
 */
async function attachDisks(vbox: VBoxManage, definition: Definition, run: Run): Promise<void> {
  const { resource, handle, seen, spec } = definition
  const { facts } = seen
  const call = callOf(definition)
  const media = await lookAtChains(vbox, { ...resource, handle }, facts, run)
  const present = attachedDisks(facts, handle, media, placesOf({ ...resource, handle }))
  const slotOf = (port: number) => `${spec.controller}-${port}-0`
  const wanted = new Map(spec.disks.map(({ port, path }) => [slotOf(port), path]))
  const seed = placesOf({ ...resource, handle }).seedDisk
  for (const [slot, path] of present) {
    if (path === undefined && wanted.has(slot))
      throw foreign(resource, `disk '${facts.attached.get(slot)}' at ${slot} of machine '${resource.name}'`)
  }
  const stale = [...present].filter(([slot, path]) => path !== undefined && wanted.get(slot) !== path)
  for (const [slot] of stale) await detach(vbox, facts.uuid, slot, call, run)
  const kept = facts.hasSnapshots ? readSnapshots(facts.settings).flatMap(({ disks }) => disks) : []
  const now = stale.length === 0 ? facts : await lookAgain(vbox, definition, run)
  for (const { port, path } of spec.disks) {
    const there = ownerOf(now.attached.get(slotOf(port)) ?? '', media, new Set([path]))
    if (there === path) continue
    const kind = path === seed ? ['--type', 'hdd', ...seedKind] : ['--type', 'hdd']
    const file = newestFile(path, { media, kept, folder: dirname(facts.settings) })
    const args = ['--port', String(port), '--device', '0', ...kind, '--medium', file]
    const hint = path === seed ? 'hydra-ops deploy writes the seed disk again' : undefined
    await vbox.mustUnlocked(
      ['storageattach', facts.uuid, '--storagectl', spec.controller, ...args],
      { ...call, hint },
      run,
    )
  }
}

/** Medium type that snapshots leave out, so that a newer identity can replace the disk. */
const seedKind = ['--mtype', 'writethrough']

/**
 * Finds the file with a disk's newest content. A disk that is detached after a snapshot keeps its changes in a
 * differencing image. Otherwise VirtualBox would begin a new differencing image at the snapshot.
 */
function newestFile(
  path: string,
  look: { readonly media: readonly Medium[]; readonly kept: readonly string[]; readonly folder: string },
): string {
  const { media, kept, folder } = look
  const [newest] = media
    .filter(({ uuid, location }) => {
      const isLeaf = !kept.includes(uuid) && media.every(({ parent }) => parent !== uuid)
      return isLeaf && location.startsWith(`${folder}/`) && ancestorsOf(location, media).includes(path)
    })
    .map(({ location }) => ({ location, time: statSync(location, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .sort((a, b) => b.time - a.time)
  return newest?.location ?? path
}

/** Reads the machine again after its disks changed. */
async function lookAgain(vbox: VBoxManage, definition: Definition, run: Run): Promise<MachineFacts> {
  const { uuid } = definition.seen.facts
  return parseMachine(await vbox.must(['showvminfo', uuid, '--machinereadable'], callOf(definition), run))
}

async function shareFolders(
  vbox: VBoxManage,
  definition: Definition,
  changed: boolean,
  run: Run,
): Promise<void> {
  const { facts } = definition.seen
  const call = callOf(definition)
  const wanted = new Map(definition.spec.sharedFolders.map((folder) => [folder.name, folder]))
  const isRight = (name: string) => !changed && facts.sharedFolders.get(name) === wanted.get(name)?.hostPath
  for (const name of facts.sharedFolders.keys()) {
    if (isRight(name)) continue
    await vbox.mustUnlocked(['sharedfolder', 'remove', facts.uuid, '--name', name], call, run)
  }
  for (const { name, hostPath, readOnly } of wanted.values()) {
    if (isRight(name)) continue
    const args = ['--name', name, '--hostpath', hostPath, ...(readOnly ? ['--readonly'] : [])]
    await vbox.mustUnlocked(['sharedfolder', 'add', facts.uuid, ...args], call, run)
  }
}
