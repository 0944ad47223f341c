import { existsSync } from 'node:fs'
import type { ResourceChange } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { hasIdentity } from '../common/identity.js'
import { refuseMissingBridges } from './bridges.js'
import { imageReference, type LibvirtHandle } from './config.js'
import { gib, type LostDisk, lostDisks, sizeChanges } from './disks.js'
import { parseDomainXml } from './domain-facts.js'
import type { DomainNic, DomainSpec, Forward } from './domain-spec.js'
import { lookAtOurs, type Seen, type SeenDomain } from './look.js'
import {
  isDefinedFrom,
  isReal,
  type Move,
  type OpenFile,
  openFiles,
  type PlacedFacts,
  placedFacts,
  refuseOtherFiles,
  removedFiles,
} from './moved.js'
import { forwardChanges, liveForwards } from './network.js'
import { type LibvirtParts, type LibvirtResource, type Places, placesOf, readNote } from './places.js'
import { createVirsh, type Virsh } from './virsh.js'
import { putBack, reasonToRecreate, wantedHandle, wantedSpec } from './wanted.js'

/** Compares the wanted machine with the existing one. Only reads. */
export async function planChanges(
  parts: LibvirtParts,
  resource: LibvirtResource,
  run: Run,
): Promise<ResourceChange[]> {
  refuseMissingBridges(resource.machine, resource.config.networks, parts.interfaces)
  const places = placesOf(parts, resource)
  const virsh = createVirsh(parts.local, places.uri)
  const seen = await lookAtOurs(virsh, places, resource, run)
  const known = withNotedHandle(resource, places)
  const recreate = reasonToRecreate(parts, known)
  if (recreate !== undefined) return [{ action: 'recreate', ...recreate, needs: 'recreate' }]
  const lost = lostDiskItems(known, seen, places)
  if (seen.kind === 'absent' || known.handle === undefined) return [creation(resource), ...lost]
  const handle = await wantedHandle(parts, places, known, run)
  if (!existsSync(handle.disk)) {
    return [
      { action: 'recreate', detail: `its disk ${handle.disk} is gone`, needs: 'recreate', hint: putBack },
    ]
  }
  const spec = await wantedSpec(parts, places, known, handle, run)
  const live = await liveFacts(virsh, resource, seen, run)
  const moved = live?.facts.move !== undefined
  const hasData = Object.keys(handle.extraDisks).length > 0
  const open = live !== undefined && (moved || hasData) ? openFiles(handle.uuid) : []
  if (moved) refuseOtherFiles({ ...known, handle }, open)
  return [
    ...lost,
    ...(live === undefined ? [] : removedDiskItems(handle, open, lostOnes(known, seen, places))),
    ...definitionChanges(seen.next, live?.facts, spec),
    ...moveItems(seen.next, live?.facts),
    ...forwardItems(seen.next, live?.forwards, spec),
    ...(await diskItems(parts, known, handle, run)),
    ...(seen.autostart === resource.config.autostart ? [] : [autostartItem(resource)]),
    ...(hasIdentity({ credential: spec.credential, seed: seedOf(spec) }) ? [] : [lostIdentity]),
  ]
}

/** Adds the data of the note beside the disks, which a crash or an older state may lack. */
export function withNotedHandle(
  resource: LibvirtResource,
  places: Parameters<typeof readNote>[0],
): LibvirtResource {
  if (resource.handle !== undefined) return resource
  const found = readNote(places, resource)
  return found.kind === 'ours' ? { ...resource, handle: found.note.handle } : resource
}

function lostOnes(known: LibvirtResource, seen: Seen, places: Places): LostDisk[] {
  return lostDisks(known, madeDisks(places, known), attachedFiles(seen))
}

function lostDiskItems(known: LibvirtResource, seen: Seen, places: Places): ResourceChange[] {
  return lostOnes(known, seen, places).map(({ name, path }) => ({
    action: 'recreate',
    detail: `disk ${name}: its file ${path} is gone; an empty disk takes its place`,
    needs: 'new-disk',
    hint: putBack,
  }))
}

/** Reports that a running guest still writes to removed files, also after new files took their place. */
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
            detail: `disk ${name}: the guest writes to the removed file until it stops; copy what is on the disk off inside the guest first`,
            needs: 'restart',
          },
        ]
      : [],
  )
}

/** Names the data disks that exist according to the note beside them. */
export function madeDisks(places: Places, resource: LibvirtResource): readonly string[] {
  const found = readNote(places, resource)
  return found.kind === 'ours' ? found.note.madeDisks : []
}

/** Lists files that the domain's definition attaches; undefined without a domain. */
export function attachedFiles(seen: Seen): ReadonlySet<string> | undefined {
  return seen.kind === 'domain' ? new Set(seen.next.disks.values()) : undefined
}

function creation({ config }: LibvirtResource): ResourceChange {
  const disks = Object.entries(config.extraDisks).map(([name, size]) => ` · disk ${name} ${size} GiB`)
  const detail = `${config.memorySize} MiB, ${config.vcpu} vCPU, ${config.baseImageSize} GiB on ${imageReference(config)}`
  return { action: 'create', detail: `${detail}${disks.join('')}`, needs: 'nothing' }
}

/** Reads the definition that QEMU runs with now; undefined when it does not run. */
async function liveFacts(
  virsh: Virsh,
  resource: LibvirtResource,
  seen: SeenDomain,
  run: Run,
): Promise<{ facts: PlacedFacts; forwards: Forward[] } | undefined> {
  if (!seen.state.active) return undefined
  const { name, machine } = resource
  const xml = await virsh.must(['dumpxml', name], { what: `look at domain '${name}'`, machine }, run)
  const facts = placedFacts(parseDomainXml(xml), resource)
  return { facts, forwards: await liveForwards(virsh, resource, run) }
}

/** Lists changes of the definition: a running guest keeps its old definition until the next start. */
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

/** Reports that files were moved: a running guest keeps its open files, and its next start finds the new places. */
function moveItems(next: PlacedFacts, live: PlacedFacts | undefined): ResourceChange[] {
  const item = (move: Move | undefined, needs: ResourceChange['needs']): ResourceChange[] =>
    move === undefined || !isReal(move)
      ? []
      : [{ action: 'change', detail: `its files were moved here from ${move.from}`, needs }]
  const running = item(live?.move, 'restart')
  return running.length > 0 ? running : item(next.move, 'nothing')
}

/** Tells whether somebody used `virsh edit` and left our mark unchanged. */
export function differsByHand(facts: PlacedFacts, spec: DomainSpec): boolean {
  return knownDifferences(facts, spec).length > 0
}

function differences(facts: PlacedFacts, spec: DomainSpec): string[] {
  const known = knownDifferences(facts, spec)
  return known.length === 0 ? ['other options of the domain'] : known
}

function knownDifferences(facts: PlacedFacts, spec: DomainSpec): string[] {
  const pairs: readonly [string, string, string][] = [
    ['memory', `${facts.memoryMiB}`, `${spec.memoryMiB} MiB`],
    ['vCPU', `${facts.vcpu}`, `${spec.vcpu}`],
    ['acceleration', nameOfType(facts.type), nameOfType(spec.type)],
    ['networks', facts.nics.join(', ') || 'none', nicNames(spec.nics).join(', ') || 'none'],
    ['outbound', facts.outbound ? 'allowed' : 'not allowed', spec.outbound ? 'allowed' : 'not allowed'],
  ]
  return [
    ...pairs.flatMap(([what, from, to]) =>
      from === to || `${from} MiB` === to ? [] : [`${what} ${from} → ${to}`],
    ),
    ...attachedDisks(facts, spec),
  ]
}

function attachedDisks(facts: PlacedFacts, spec: DomainSpec): string[] {
  const had = new Set(facts.disks.values())
  const wanted = new Set(spec.disks.map(({ path }) => path))
  const added = spec.disks
    .filter(({ path }) => !had.has(path))
    .map((disk) => `disk ${disk.serial ?? disk.path} attached`)
  const removed = [...had]
    .filter((path) => !wanted.has(path))
    .map((path) => `disk ${path} detached (its file is kept)`)
  return [...added, ...removed]
}

function nameOfType(type: string): string {
  return type === 'qemu' ? 'none (TCG)' : type.toUpperCase()
}

/** Names interfaces in the order of a domain's XML. */
function nicNames(nics: readonly DomainNic[]): string[] {
  const lans = nics.filter(({ kind }) => kind === 'lan').map(() => 'lan')
  return [...lans, ...nics.flatMap((nic) => (nic.kind === 'lan' ? [] : [`${nic.kind} ${nic.source}`]))]
}

function forwardItems(
  next: PlacedFacts,
  live: readonly Forward[] | undefined,
  spec: DomainSpec,
): ResourceChange[] {
  const now = forwardChanges(live ?? next.forwards, spec.forwards)
  const later = forwardChanges(next.forwards, spec.forwards)
  const { added, removed } = now.added.length + now.removed.length > 0 ? now : later
  const name = ({ host, guest }: Forward) => `port 127.0.0.1:${host} → :${guest}`
  return [
    ...removed.map((forward) => `${name(forward)} closed`),
    ...added.map((forward) => `${name(forward)} opened`),
  ].map((detail) => ({ action: 'change', detail, needs: 'nothing' }))
}

async function diskItems(
  parts: LibvirtParts,
  resource: LibvirtResource,
  handle: LibvirtHandle,
  run: Run,
): Promise<ResourceChange[]> {
  const changes = await sizeChanges(parts, resource, handle, run)
  return changes.map(({ name, from, to }) => ({
    action: 'change',
    detail: `${name} ${gib(from)} → ${gib(to)}`,
    needs: 'nothing',
  }))
}

function autostartItem({ config }: LibvirtResource): ResourceChange {
  return { action: 'change', detail: `autostart ${config.autostart ? 'on' : 'off'}`, needs: 'nothing' }
}

function seedOf(spec: DomainSpec): string | undefined {
  return spec.disks.find((disk) => disk.readonly === true)?.path
}

const lostIdentity: ResourceChange = {
  action: 'change',
  detail: 'its identity files are gone: written anew',
  needs: 'nothing',
}
