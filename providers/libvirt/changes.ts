import { existsSync } from 'node:fs'
import type { ResourceChange } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { creationItem, forwardItems, type SettingPair, settingChanges } from '../common/changes.js'
import {
  attachmentChanges,
  type LostDisk,
  lostDiskItems,
  lostDisks,
  lostIdentity,
  lostRoot,
  sizeItems,
} from '../common/disks.js'
import { hasIdentity } from '../common/identity.js'

import { type Move, moveItem } from '../common/moved.js'
import { madeDisksOf, type NoteFound, withNotedHandle } from '../common/places.js'
import type { Forward } from '../common/ports.js'
import { refuseMissingBridges } from './bridges.js'
import { imageReference, type LibvirtHandle } from './config.js'
import { sizeChanges } from './disks.js'
import { parseDomainXml } from './domain-facts.js'
import type { DomainNic, DomainSpec } from './domain-spec.js'
import { lookAtOurs, type Seen, type SeenDomain } from './look.js'
import {
  isDefinedFrom,
  type OpenFile,
  openFiles,
  type PlacedFacts,
  placedFacts,
  refuseOtherFiles,
  removedFiles,
} from './moved.js'
import { liveForwards } from './network.js'
import { type LibvirtParts, type LibvirtResource, placesOf, readNote } from './places.js'
import { createVirsh, type Virsh } from './virsh.js'
import { reasonToRecreate, wantedHandle, wantedSpec } from './wanted.js'

/** Compares the wanted machine with the existing machine, and changes nothing. */
export async function planChanges(
  parts: LibvirtParts,
  resource: LibvirtResource,
  run: Run,
): Promise<ResourceChange[]> {
  refuseMissingBridges(resource.machine, resource.config.networks, parts.interfaces)
  const places = placesOf(parts, resource)
  const virsh = createVirsh(parts.local, places.uri)
  const seen = await lookAtOurs(virsh, places, resource, run)
  const note = readNote(places, resource)
  const known = withNotedHandle(resource, note)
  const recreate = reasonToRecreate(parts, known)
  if (recreate !== undefined) return [{ action: 'recreate', ...recreate, needs: 'recreate' }]
  const lost = lostOnes(known, seen, note)
  if (seen.kind === 'absent' || known.handle === undefined)
    return [creation(resource), ...lostDiskItems(lost)]
  const handle = await wantedHandle(parts, places, known, run)
  if (!existsSync(handle.disk)) {
    return [lostRoot(handle.disk)]
  }
  const spec = await wantedSpec(parts, places, known, handle, run)
  const live = await liveFacts(virsh, resource, seen, run)
  const moved = live?.facts.move !== undefined
  const hasData = Object.keys(handle.extraDisks).length > 0
  const open = live !== undefined && (moved || hasData) ? openFiles(handle.uuid) : []
  if (moved) refuseOtherFiles({ ...known, handle }, open)
  return [
    ...lostDiskItems(lost),
    ...(live === undefined ? [] : removedDiskItems(handle, open, lost)),
    ...definitionChanges(seen.next, live?.facts, spec),
    ...moveItems(seen.next.move, live?.facts.move),
    ...forwardItems(seen.next.forwards, live?.forwards, spec.forwards),
    ...sizeItems(await sizeChanges(parts, known, handle, run), 'nothing'),
    ...(seen.autostart === resource.config.autostart ? [] : [autostartItem(resource)]),
    ...(hasIdentity({ credential: spec.credential, seed: seedOf(spec) }) ? [] : [lostIdentity]),
  ]
}

/** Lists wanted data disks that were created but are missing now. */
export function lostOnes(
  { handle, config }: LibvirtResource,
  seen: Seen,
  note: NoteFound<LibvirtHandle>,
): LostDisk[] {
  const wanted = Object.keys(config.extraDisks)
  return lostDisks(handle, { wanted, made: madeDisksOf(note), attached: attachedFiles(seen) })
}

/** Reports that a running guest still writes to removed files, even after new files took their place. */
function removedDiskItems(
  handle: LibvirtHandle,
  open: readonly OpenFile[],
  lost: readonly LostDisk[],
): ResourceChange[] {
  const gone = new Set([...removedFiles(open), ...lost.map(({ path }) => path)])
  return Object.entries(handle.extraDisks).flatMap(([name, path]) =>
    gone.has(path)
      ? [
          {
            action: 'change',
            detail: `disk ${name}: the guest writes to the removed file until the guest stops; first copy its data to another disk`,
            needs: 'restart',
          },
        ]
      : [],
  )
}

/** Lists files that the domain's definition attaches; undefined without a domain. */
function attachedFiles(seen: Seen): ReadonlySet<string> | undefined {
  return seen.kind === 'domain' ? new Set(seen.next.disks.values()) : undefined
}

function creation({ config, os }: LibvirtResource): ResourceChange {
  return creationItem({
    memoryMiB: config.memorySize,
    vcpu: config.vcpu,
    size: `${config.baseImageSize} GiB`,
    image: imageReference(config, os),
    disks: Object.entries(config.extraDisks).map(([name, size]) => [name, `${size} GiB`]),
  })
}

/** Reads the definition with which QEMU runs now; undefined if QEMU is not running. */
async function liveFacts(
  virsh: Virsh,
  resource: LibvirtResource,
  seen: SeenDomain,
  run: Run,
): Promise<{ facts: PlacedFacts; forwards: Forward[] } | undefined> {
  if (!seen.state.active) return undefined
  const { name, machine } = resource
  const xml = await virsh.must(['dumpxml', name], { what: `inspect domain '${name}'`, machine }, run)
  const facts = placedFacts(parseDomainXml(xml), resource)
  return { facts, forwards: await liveForwards(virsh, resource, run) }
}

/** Lists changes to the definition; a running guest keeps its old definition until the next start. */
function definitionChanges(
  next: PlacedFacts,
  live: PlacedFacts | undefined,
  spec: DomainSpec,
): ResourceChange[] {
  if (live !== undefined && !isDefinedFrom(live, spec)) {
    return differences(live, spec).map((detail) => ({ action: 'change', detail, needs: 'restart' }))
  }
  if (!isDefinedFrom(next, spec) || differsByHand(next, spec)) {
    return differences(next, spec).map((detail) => ({ action: 'change', detail, needs: 'nothing' }))
  }
  return []
}

function moveItems(next: Move | undefined, live: Move | undefined): ResourceChange[] {
  const running = moveItem(live, 'restart')
  return running.length > 0 ? running : moveItem(next, 'nothing')
}

/** Tells whether the domain was edited by hand; `virsh edit` leaves hydra-ops's mark unchanged. */
export function differsByHand(facts: PlacedFacts, spec: DomainSpec): boolean {
  return knownDifferences(facts, spec).length > 0
}

function differences(facts: PlacedFacts, spec: DomainSpec): string[] {
  const known = knownDifferences(facts, spec)
  return known.length === 0 ? ['other options of the domain'] : known
}

function knownDifferences(facts: PlacedFacts, spec: DomainSpec): string[] {
  const pairs: readonly SettingPair[] = [
    ['memory', `${facts.memoryMiB}`, `${spec.memoryMiB} MiB`],
    ['vCPU', `${facts.vcpu}`, `${spec.vcpu}`],
    ['acceleration', nameOfType(facts.type), nameOfType(spec.type)],
    ['networks', facts.nics.join(', ') || 'none', nicNames(spec.nics).join(', ') || 'none'],
    ['outbound', facts.outbound ? 'allowed' : 'not allowed', spec.outbound ? 'allowed' : 'not allowed'],
  ]
  const wanted = new Map(spec.disks.map(({ path, serial }) => [path, serial ?? path]))
  return [...settingChanges(pairs), ...attachmentChanges(new Set(facts.disks.values()), wanted)]
}

function nameOfType(type: string): string {
  return type === 'qemu' ? 'none (TCG)' : type.toUpperCase()
}

/** Returns the names of interfaces in the order of a domain's XML. */
function nicNames(nics: readonly DomainNic[]): string[] {
  const lans = nics.filter(({ kind }) => kind === 'lan').map(() => 'lan')
  return [...lans, ...nics.flatMap((nic) => (nic.kind === 'lan' ? [] : [`${nic.kind} ${nic.source}`]))]
}

function autostartItem({ config }: LibvirtResource): ResourceChange {
  return { action: 'change', detail: `autostart ${config.autostart ? 'on' : 'off'}`, needs: 'nothing' }
}

function seedOf(spec: DomainSpec): string | undefined {
  return spec.disks.find((disk) => disk.readonly === true)?.path
}
