import { existsSync } from 'node:fs'
import { failure } from '../../src/core/errors.js'
import type { Snapshot } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { allDisks } from '../common/disks.js'
import { isReal } from '../common/moved.js'
import { forwardChanges, forwardsOf, startWithFreePorts } from '../common/ports.js'
import { notMade } from '../common/power.js'
import {
  memoryMs,
  newerDiskLoss,
  noSnapshot,
  savedMemoryLoss,
  settingLosses,
  snapshotExists,
  snapshotLost,
} from '../common/snapshots.js'
import { requireBootFiles } from './boot-files.js'
import type { LibvirtAllocation } from './config.js'
import { cutPower } from './destroy.js'
import { dropStates, followImage, holdsState } from './disks.js'
import { parseDomainXml } from './domain-facts.js'
import { lookAtOurs, type SeenDomain } from './look.js'
import { movedXml, type PlacedFacts, placedFacts, refuseOtherFiles } from './moved.js'
import { replaceForwards } from './network.js'
import { type LibvirtParts, type LibvirtResource, type Places, placesOf } from './places.js'
import { defineXml, withDefinition } from './provision.js'
import { parseSnapshotXml, type SnapshotFacts } from './snapshot-facts.js'
import { createVirsh, type Virsh, type VirshCall, virshError } from './virsh.js'

/** A machine that has a domain, with its connection to libvirt. */
interface Subject {
  readonly parts: LibvirtParts
  readonly virsh: Virsh
  readonly places: Places
  readonly resource: LibvirtResource
  readonly seen: SeenDomain
}

/** Looks at the machine; returns undefined when the machine has no domain. */
async function subjectOf(
  parts: LibvirtParts,
  resource: LibvirtResource,
  run: Run,
): Promise<Subject | undefined> {
  const places = placesOf(parts, resource)
  const virsh = createVirsh(parts.local, places.uri)
  const seen = await lookAtOurs(virsh, places, resource, run)
  return seen.kind === 'absent' ? undefined : { parts, virsh, places, resource, seen }
}

export async function listSnapshots(
  parts: LibvirtParts,
  resource: LibvirtResource,
  run: Run,
): Promise<Snapshot[]> {
  const subject = await subjectOf(parts, resource, run)
  if (subject === undefined) return []
  const { virsh } = subject
  const { name: domain, machine } = resource
  const call = { what: `list the snapshots of domain '${domain}'`, machine }
  const names = (await virsh.must(['snapshot-list', domain, '--name'], call, run))
    .split('\n')
    .filter((name) => name !== '')
  const found: Snapshot[] = []
  for (const each of names) {
    const text = await snapshotXml(subject, each, run)
    if (text === undefined) continue
    const { name, at, memory, description } = parseSnapshotXml(text)
    found.push({ name, at, memory, description })
  }
  return found.sort((a, b) => a.at.localeCompare(b.at))
}

/** Reads a snapshot's XML; returns undefined when no snapshot has that name. */
async function snapshotXml(
  { virsh, resource }: Subject,
  name: string,
  run: Run,
): Promise<string | undefined> {
  const call = { what: `read snapshot '${name}' of domain '${resource.name}'`, machine: resource.machine }
  const args = ['snapshot-dumpxml', resource.name, '--snapshotname', name, '--security-info']
  const outcome = await virsh.attempt(args, call, run)
  if (outcome.kind === 'done') return outcome.stdout
  if (outcome.failure.complaint === 'no-snapshot') return undefined
  throw virshError(outcome.failure, call)
}

export async function createSnapshot(
  parts: LibvirtParts,
  resource: LibvirtResource,
  { name, description }: { readonly name: string; readonly description: string | undefined },
  run: Run,
): Promise<void> {
  const subject = await subjectOf(parts, resource, run)
  const { machine } = resource
  if (subject === undefined) {
    throw notMade(machine, `domain '${resource.name}'`)
  }
  if ((await snapshotXml(subject, name, run)) !== undefined) throw snapshotExists(machine, name)
  const { virsh, seen } = subject
  if (seen.state.active) refuseOtherFiles(resource)
  else await prepareDisks(subject, name, run)
  const call = {
    what: `create snapshot '${name}' of domain '${resource.name}'`,
    machine,
    timeoutMs: memoryMs,
  }
  const about = description === undefined ? [] : ['--description', description]
  const outcome = await virsh.attempt(
    ['snapshot-create-as', resource.name, '--name', name, ...about],
    call,
    run,
  )
  if (outcome.kind === 'done') return
  if (outcome.failure.complaint === 'snapshot-exists') throw snapshotExists(machine, name)
  throw virshError(
    outcome.failure,
    /unsupported/.test(outcome.failure.message) ? { ...call, hint: onlyQcow2 } : call,
  )
}

const onlyQcow2 =
  'libvirt creates snapshots only of machines with qcow2 disks and without UEFI variables; see deployment.libvirtd.extraDevicesXML and extraDomainXML'

/** Prepares the disks of a stopped machine for a new snapshot with this name. */
async function prepareDisks(subject: Subject, name: string, run: Run): Promise<void> {
  const { parts, virsh, places, resource, seen } = subject
  const { machine } = resource
  if (seen.savedMemory) {
    throw failure(
      'SAVED_MEMORY',
      `machine '${machine}' is off with saved memory, which a snapshot would lack`,
      {
        machine,
        hint: `hydra-ops start --on ${machine} continues with the saved memory; a snapshot then has the memory, too`,
      },
    )
  }
  const { move } = seen.next
  if (move !== undefined && isReal(move)) {
    const call = { what: `look at domain '${resource.name}'`, machine }
    const xml = await virsh.must(['dumpxml', '--inactive', resource.name], call, run)
    await defineXml(virsh, places, resource, movedXml(xml, move), run)
  }
  if (resource.handle !== undefined) await followImage(parts, resource.handle, run)
  // A libvirt crash, or a deletion while the disk was missing, can leave a state without its snapshot.
  for (const disk of disksThere(resource)) await dropStates(parts, disk, name, run)
}

/** Lists the machine's disks that exist, attached or not. */
function disksThere({ handle }: LibvirtResource): string[] {
  return handle === undefined ? [] : allDisks(handle).filter((disk) => existsSync(disk))
}

/** A snapshot that can be restored, with the current paths of its files. */
interface Restorable {
  readonly subject: Subject
  readonly xml: string
  readonly facts: SnapshotFacts
  readonly placed: PlacedFacts
}

/**
 * Reads a snapshot, and refuses a snapshot that cannot be restored as a whole. libvirt would otherwise restore only
 * part of the snapshot.
 */
async function restorable(
  parts: LibvirtParts,
  resource: LibvirtResource,
  name: string,
  run: Run,
): Promise<Restorable> {
  const { machine } = resource
  const subject = await subjectOf(parts, resource, run)
  const xml = subject === undefined ? undefined : await snapshotXml(subject, name, run)
  if (subject === undefined || xml === undefined) {
    throw noSnapshot(machine, name)
  }
  const facts = parseSnapshotXml(xml)
  const placed = placedFacts(facts.domain, resource)
  const lost = (why: string) => snapshotLost(machine, name, why)
  if (facts.external) {
    throw failure(
      'SNAPSHOT_EXTERNAL',
      `machine '${machine}': snapshot '${name}' was created by another program, in files beside the disks`,
      {
        machine,
        hint: `restore the snapshot with that program; virsh -c ${subject.places.uri} snapshot-info shows the snapshot`,
      },
    )
  }
  for (const device of facts.devices) {
    const disk = placed.disks.get(device)
    if (disk === undefined || !existsSync(disk)) throw lost(`its disk ${disk ?? device} is gone`)
    if (!(await holdsState(parts, disk, name, run))) throw lost(`its disk ${disk} was replaced since`)
  }
  if (facts.memory) requireBootFiles(subject.places, resource, placed)
  return { subject, xml, facts, placed }
}

export async function restoreLosses(
  parts: LibvirtParts,
  resource: LibvirtResource,
  name: string,
  run: Run,
): Promise<string[]> {
  const { subject, placed } = await restorable(parts, resource, name, run)
  const { next, savedMemory } = subject.seen
  const had = new Set(placed.disks.values())
  const newer = [...next.disks.values()].filter((path) => !had.has(path))
  return [
    ...(savedMemory ? [savedMemoryLoss] : []),
    ...newer.map((path) => newerDiskLoss(path, resource.handle)),
    ...settingLosses(next, placed),
  ]
}

/**
 * Restores a snapshot with the machine's current ports. Returns a new allocation when another program holds one of
 * the ports.
 */
export async function restoreSnapshot(
  parts: LibvirtParts,
  resource: LibvirtResource,
  name: string,
  run: Run,
  takenPorts: () => Promise<ReadonlySet<number>> = async () => new Set(),
): Promise<LibvirtAllocation | undefined> {
  const { subject, xml, facts, placed } = await restorable(parts, resource, name, run)
  const { virsh, seen } = subject
  if (seen.state.active) {
    refuseOtherFiles(resource)
    // The running QEMU would otherwise hold the ports that its successor needs.
    await cutPower(virsh, resource, run)
  }
  await dropSavedMemory(subject, run)
  if (resource.handle !== undefined) await followImage(parts, resource.handle, run)
  const call = {
    what: `restore snapshot '${name}' of domain '${resource.name}'`,
    machine: resource.machine,
    timeoutMs: memoryMs,
  }
  // libvirt requires --force if it suspects that a snapshot is incomplete. `restorable` has already refused
  // incomplete snapshots.
  const args = ['snapshot-revert', resource.name, '--snapshotname', name, '--force']
  const revert = async (allocation: LibvirtAllocation, isLast: boolean): Promise<number[]> => {
    await giveSnapshot(subject, { xml, facts, placed, allocation }, run)
    const outcome = await virsh.attempt(args, call, run)
    if (outcome.kind === 'done') return []
    const { port } = outcome.failure
    if (port === undefined || isLast) throw virshError(outcome.failure, call)
    return [port]
  }
  if (!facts.memory) {
    await revert(resource.allocation, true)
    return undefined
  }
  const allocation = await startWithFreePorts(resource.allocation, takenPorts, revert, run)
  return allocation === resource.allocation ? undefined : allocation
}

/** Removes the saved memory, which does not fit the disks of the snapshot. */
async function dropSavedMemory({ virsh, resource, seen }: Subject, run: Run): Promise<void> {
  if (!seen.savedMemory) return
  const call = { what: `remove the saved memory of domain '${resource.name}'`, machine: resource.machine }
  await virsh.must(['managedsave-remove', resource.name], call, run)
}

/**
 * Updates a snapshot's definition to the current ports and paths, because libvirt starts QEMU from the definition.
 */
async function giveSnapshot(
  { virsh, places, resource }: Subject,
  {
    xml,
    facts,
    placed,
    allocation,
  }: Omit<Restorable, 'subject'> & { readonly allocation: LibvirtAllocation },
  run: Run,
): Promise<void> {
  const wanted = forwardsOf(allocation)
  const { added, removed } = forwardChanges(placed.forwards, wanted)
  const { move } = placed
  const moved = move !== undefined && isReal(move) ? move : undefined
  if (added.length + removed.length === 0 && moved === undefined) return
  const call: VirshCall = {
    what: `update the ports and paths of snapshot '${facts.name}' of domain '${resource.name}'`,
    machine: resource.machine,
  }
  const text = replaceForwards(moved === undefined ? xml : movedXml(xml, moved), wanted)
  await withDefinition(places, text, (file) =>
    virsh.must(['snapshot-create', resource.name, file, '--redefine'], call, run),
  )
}

/** Deletes a snapshot, and its states in disks that libvirt does not see because they are detached or were moved. */
export async function deleteSnapshot(
  parts: LibvirtParts,
  resource: LibvirtResource,
  name: string,
  run: Run,
): Promise<void> {
  const subject = await subjectOf(parts, resource, run)
  if (subject === undefined) return
  const { virsh, seen } = subject
  const call = {
    what: `delete snapshot '${name}' of domain '${resource.name}'`,
    machine: resource.machine,
    timeoutMs: memoryMs,
  }
  const live = seen.state.active ? await liveDisks(subject, call, run) : undefined
  const xml = await snapshotXml(subject, name, run)
  if (xml !== undefined) {
    const byHand = live !== undefined && hasOtherDisks(xml, resource, live)
    // libvirtd 9.0 would crash here, because it looks for each disk of the snapshot in the running machine.
    if (byHand) {
      await virsh.must(
        ['qemu-monitor-command', resource.name, '--hmp', `delvm ${JSON.stringify(name)}`],
        call,
        run,
      )
    }
    const args = ['snapshot-delete', resource.name, '--snapshotname', name, ...(byHand ? ['--metadata'] : [])]
    const outcome = await virsh.attempt(args, call, run)
    if (outcome.kind === 'failed' && outcome.failure.complaint !== 'no-snapshot') {
      throw virshError(outcome.failure, call)
    }
  }
  const inUse = new Set(live?.values())
  for (const disk of disksThere(resource)) {
    if (!inUse.has(disk)) await dropStates(parts, disk, name, run)
  }
}

/** Returns the disks that the running QEMU uses, by device. */
async function liveDisks(
  { virsh, resource }: Subject,
  call: VirshCall,
  run: Run,
): Promise<ReadonlyMap<string, string>> {
  refuseOtherFiles(resource)
  const xml = await virsh.must(['dumpxml', resource.name], call, run)
  return placedFacts(parseDomainXml(xml), resource).disks
}

function hasOtherDisks(xml: string, resource: LibvirtResource, live: ReadonlyMap<string, string>): boolean {
  const { devices, domain } = parseSnapshotXml(xml)
  const { disks } = placedFacts(domain, resource)
  return devices.some((device) => live.get(device) !== disks.get(device))
}
