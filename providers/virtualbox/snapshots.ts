import { existsSync } from 'node:fs'
import { failure } from '../../src/core/errors.js'
import type { Snapshot } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { allDisks } from '../common/disks.js'
import {
  memoryMs,
  newerDiskLoss,
  noSnapshot,
  savedMemoryLoss,
  settingLosses,
  snapshotExists,
  snapshotLost,
} from '../common/snapshots.js'
import { cutPower } from './destroy.js'
import { hasSavedMemory, isActive, lookAtMedia, lookAtOurs, markKeys, snapshotKey } from './look.js'
import { ancestorsOf, type Medium, ownerOf } from './media.js'
import { ruleSteps } from './network.js'
import { placesOf, type VirtualBoxParts, type VirtualBoxResource, withFiles } from './places.js'
import { ourMachine } from './power.js'
import { readSnapshots, type SnapshotFacts } from './snapshot-facts.js'
import { createVBoxManage, type VBoxManage, vboxError } from './vboxmanage.js'
import { wantedSpec } from './wanted.js'

/** Reads the snapshots of the machine; returns an empty list for a missing machine. */
async function snapshotsOf(
  vbox: VBoxManage,
  resource: VirtualBoxResource,
  run: Run,
): Promise<SnapshotFacts[]> {
  const places = placesOf(resource)
  const seen = await lookAtOurs(vbox, places, resource, run)
  if (seen.kind === 'absent') return []
  const file = seen.kind === 'machine' ? seen.facts.settings : places.settings
  return withFiles(resource, 'read its snapshots', async () => readSnapshots(file))
}

export async function listSnapshots(
  parts: VirtualBoxParts,
  resource: VirtualBoxResource,
  run: Run,
): Promise<Snapshot[]> {
  const found = await snapshotsOf(createVBoxManage(parts), resource, run)
  return found.map(({ name, at, memory, description }) => ({ name, at, memory, description }))
}

export async function createSnapshot(
  parts: VirtualBoxParts,
  resource: VirtualBoxResource,
  { name, description }: { readonly name: string; readonly description: string | undefined },
  run: Run,
): Promise<void> {
  const vbox = createVBoxManage(parts)
  const { machine } = resource
  const { facts, mark } = await ourMachine(vbox, placesOf(resource), resource, run)
  // VirtualBox itself would accept a second snapshot with the same name.
  const present = await snapshotsOf(vbox, resource, run)
  if (present.some((each) => each.name === name)) throw snapshotExists(machine, name)
  const call = {
    what: `create snapshot '${name}' of machine '${resource.name}'`,
    machine,
    timeoutMs: memoryMs,
  }
  const about = description === undefined ? [] : ['--description', description]
  const said = await vbox.mustUnlocked(['snapshot', facts.uuid, 'take', name, ...about], call, run)
  const [, uuid] = /UUID: ([0-9a-f-]{36})/.exec(said) ?? []
  if (uuid === undefined || mark.spec === undefined) return
  await vbox.mustUnlocked(['setextradata', facts.uuid, `${snapshotKey}${uuid}`, mark.spec], call, run)
}

/** Finds the snapshot with that name, and refuses an ambiguous name. */
function snapshotNamed(
  found: readonly SnapshotFacts[],
  { machine, name: vm }: VirtualBoxResource,
  name: string,
): SnapshotFacts | undefined {
  const [first, second] = found.filter((each) => each.name === name)
  if (second === undefined) return first
  throw failure('SNAPSHOT_AMBIGUOUS', `machine '${machine}' has several snapshots '${name}'`, {
    machine,
    hint: `rename one of the snapshots: VBoxManage snapshot ${vm} edit ${second.uuid} --name NAME`,
  })
}

/** Finds a snapshot, and refuses a snapshot that cannot be restored as a whole. */
async function restorable(
  vbox: VBoxManage,
  resource: VirtualBoxResource,
  name: string,
  run: Run,
): Promise<{ readonly snapshot: SnapshotFacts; readonly media: readonly Medium[] }> {
  const { machine } = resource
  const snapshot = snapshotNamed(await snapshotsOf(vbox, resource, run), resource, name)
  if (snapshot === undefined) throw noSnapshot(machine, name)
  const media = await lookAtMedia(vbox, machine, run)
  for (const uuid of snapshot.disks) {
    const medium = media.find((each) => each.uuid === uuid)
    if (medium === undefined) throw snapshotLost(machine, name, `its disk {${uuid}} is gone`)
    for (const path of [medium.location, ...ancestorsOf(medium.location, media)]) {
      if (!existsSync(path)) throw snapshotLost(machine, name, `its disk ${path} is gone`)
      if (media.some(({ location, accessible }) => location === path && !accessible))
        throw snapshotLost(machine, name, `its disk ${path} was replaced since`)
    }
  }
  if (snapshot.stateFile !== undefined && !existsSync(snapshot.stateFile))
    throw snapshotLost(machine, name, `its memory ${snapshot.stateFile} is gone`)
  return { snapshot, media }
}

export async function restoreLosses(
  parts: VirtualBoxParts,
  resource: VirtualBoxResource,
  name: string,
  run: Run,
): Promise<string[]> {
  const vbox = createVBoxManage(parts)
  const { snapshot, media } = await restorable(vbox, resource, name, run)
  const places = placesOf(resource)
  const seen = await lookAtOurs(vbox, places, resource, run)
  if (seen.kind !== 'machine') return []
  const { facts } = seen
  return [
    ...(hasSavedMemory(facts) ? [savedMemoryLoss] : []),
    ...newerDisks(resource, { snapshot, media, attached: [...facts.attached.values()] }),
    ...settingLosses(facts, snapshot),
  ]
}

interface DisksLook {
  readonly snapshot: SnapshotFacts
  readonly media: readonly Medium[]
  readonly attached: readonly string[]
}

/**
 * Names disks that the snapshot lacks. VirtualBox discards changes that such a disk received after its own last
 * snapshot.
 */
function newerDisks({ handle }: VirtualBoxResource, { snapshot, media, attached }: DisksLook): string[] {
  if (handle === undefined) return []
  const ours = new Set(allDisks(handle))
  const had = media
    .filter(({ uuid }) => snapshot.disks.includes(uuid))
    .map(({ location }) => ownerOf(location, media, ours))
  return attached.flatMap((path) => {
    const owner = ownerOf(path, media, ours)
    if (owner === undefined || had.includes(owner)) return []
    return [
      newerDiskLoss(
        owner,
        handle,
        owner === path ? undefined : 'it loses all changes since the last snapshot that has it',
      ),
    ]
  })
}

/**
 * Restores a snapshot, and applies the machine's current ports. The machine is then off, or has saved memory from
 * which it continues.
 */
export async function restoreSnapshot(
  parts: VirtualBoxParts,
  resource: VirtualBoxResource,
  name: string,
  run: Run,
): Promise<undefined> {
  const vbox = createVBoxManage(parts)
  const places = placesOf(resource)
  if ((await snapshotsOf(vbox, resource, run)).length === 0) throw noSnapshot(resource.machine, name)
  const { facts, mark } = await ourMachine(vbox, places, resource, run)
  const { snapshot } = await restorable(vbox, resource, name, run)
  if (isActive(facts)) await cutPower(vbox, places, resource, run)
  const call = {
    what: `restore snapshot '${name}' of machine '${resource.name}'`,
    machine: resource.machine,
    timeoutMs: memoryMs,
  }
  // The mark would otherwise claim the newer settings. An interrupted restore leaves no mark, so that the next
  // deploy applies all settings.
  const claim = (spec: string) =>
    vbox.mustUnlocked(['setextradata', facts.uuid, markKeys.spec, spec], call, run)
  await claim('')
  await vbox.mustUnlocked(['snapshot', facts.uuid, 'restore', snapshot.uuid], call, run)
  await givePorts(vbox, resource, run)
  await claim(mark.snapshots.get(snapshot.uuid) ?? '')
  return undefined
}

/** Applies the machine's current ports, which VirtualBox also accepts for a machine with saved memory. */
async function givePorts(vbox: VBoxManage, resource: VirtualBoxResource, run: Run): Promise<void> {
  const { handle, allocation, name, machine } = resource
  if (handle === undefined) return
  const { facts } = await ourMachine(vbox, placesOf(resource), resource, run)
  const steps = ruleSteps(facts, wantedSpec(resource, handle).forwards, allocation.sshPort)
  const args = steps.flatMap((step) => ['--natpf1', ...step])
  const call = { what: `forward ports of machine '${name}'`, machine }
  if (args.length > 0) await vbox.mustUnlocked(['modifyvm', facts.uuid, ...args], call, run)
}

/** Deletes a snapshot. VirtualBox keeps the parts that newer states need. */
export async function deleteSnapshot(
  parts: VirtualBoxParts,
  resource: VirtualBoxResource,
  name: string,
  run: Run,
): Promise<void> {
  const vbox = createVBoxManage(parts)
  const { machine } = resource
  const snapshot = snapshotNamed(await snapshotsOf(vbox, resource, run), resource, name)
  if (snapshot === undefined) return
  const { facts } = await ourMachine(vbox, placesOf(resource), resource, run)
  refuseNeeded(machine, snapshot)
  const call = {
    what: `delete snapshot '${name}' of machine '${resource.name}'`,
    machine,
    timeoutMs: memoryMs,
  }
  const outcome = await vbox.attemptUnlocked(['snapshot', facts.uuid, 'delete', snapshot.uuid], call, run)
  if (outcome.kind === 'failed' && outcome.failure.complaint !== 'not-found') {
    const isCloned = /has more than one child hard disk/.test(outcome.failure.message)
    const hint = 'another machine is a linked clone of this snapshot: remove that machine first'
    throw vboxError(outcome.failure, isCloned ? { ...call, hint } : call)
  }
  // An empty value removes the key.
  await vbox.mustUnlocked(['setextradata', facts.uuid, `${snapshotKey}${snapshot.uuid}`, ''], call, run)
}

/** Refuses to delete a snapshot that several newer states build on, because VirtualBox cannot delete it. */
function refuseNeeded(machine: string, { name, children, isCurrent }: SnapshotFacts): void {
  if (children.length + (isCurrent ? 1 : 0) < 2) return
  const [first = ''] = children
  throw failure(
    'SNAPSHOT_NEEDED',
    `machine '${machine}': snapshot '${name}' cannot be deleted, because more than one newer state builds on it: ${children.join(', ')}${isCurrent ? ' and the current state' : ''}`,
    { machine, hint: `hydra-ops snapshot delete ${first} ${machine}, then delete '${name}'` },
  )
}
