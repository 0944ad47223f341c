import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { movedPath } from '../../src/core/moved-paths.js'
import type { ReconcileOptions } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { lostRootReason, refuseForeignDisks, refuseLostDisks, requireRecreate } from '../common/disks.js'
import { identityMethod } from '../common/guest.js'
import { hasIdentity, identityDigest, identityFiles, writeIdentity } from '../common/identity.js'
import { isReal, type Move } from '../common/moved.js'
import { foreign, withNotedHandle } from '../common/places.js'
import { forwardChanges } from '../common/ports.js'
import { differsByHand, lostOnes } from './changes.js'
import type { LibvirtHandle } from './config.js'
import { destroyMachine } from './destroy.js'
import { createEmpty, createOverlay, followImage, growFile, rootBytes, sizeChanges } from './disks.js'
import { parseDomainXml } from './domain-facts.js'
import type { DomainSpec } from './domain-spec.js'
import { buildDomainXml } from './domain-xml.js'
import { guestOf } from './guest.js'
import { lookAtOurs } from './look.js'
import { isDefinedFrom, placedFacts, refuseOtherFiles } from './moved.js'
import { applyForwards } from './network.js'
import {
  type LibvirtParts,
  type LibvirtResource,
  type Places,
  placesOf,
  readNote,
  withFiles,
  writeNote,
} from './places.js'
import { createVirsh, type Virsh } from './virsh.js'
import { imageFor, publishImage, reasonToRecreate, wantedHandle, wantedSpec } from './wanted.js'

type Seen = Awaited<ReturnType<typeof lookAtOurs>>

/** Brings the machine to its wanted form from any state, without starting or stopping the machine. */
export async function reconcile(
  parts: LibvirtParts,
  resource: LibvirtResource,
  options: ReconcileOptions<LibvirtHandle>,
  run: Run,
): Promise<LibvirtHandle> {
  const places = placesOf(parts, resource)
  const virsh = createVirsh(parts.local, places.uri)
  const seen = await lookAtOurs(virsh, places, resource, run)
  const note = readNote(places, resource)
  const known = withNotedHandle(resource, note)
  const recreate =
    reasonToRecreate(parts, known)?.detail ?? lostRootReason(known.handle, seen.kind !== 'absent')
  if (recreate !== undefined) {
    requireRecreate(resource, recreate, options.allowRecreate)
    // This call throws for a missing image before the machine is destroyed.
    imageFor(parts, places, resource)
    await destroyMachine(parts, known, run)
    return reconcile(parts, { ...resource, handle: undefined }, options, run)
  }
  if (!options.allowRecreate) refuseLostDisks(resource, lostOnes(known, seen, note))
  const active = seen.kind === 'domain' && seen.state.active
  return withFiles(resource, 'create the files of the machine', async () => {
    const handle = await wantedHandle(parts, places, known, run)
    await claimFiles(parts, places, known, handle, run)
    await options.checkpoint(handle)
    if (active && (await liveDisks(virsh, resource, run)).move !== undefined)
      refuseOtherFiles({ ...known, handle })
    await makeDisks(parts, virsh, { resource, handle, seen }, run)
    if (!active) await followImage(parts, handle, run)
    await noteDisks(places, resource)
    const spec = await wantedSpec(parts, places, resource, handle, run)
    if (resource.config.domainType === 'auto' && spec.type === 'qemu') await sayWhy(parts, run)
    mkdirSync(dirname(resource.console), { recursive: true, mode: 0o700 })
    sweepDefinition(places)
    if (isOutdated(seen, spec)) await defineXml(virsh, places, resource, buildDomainXml(spec), run)
    await setAutostart(virsh, resource, seen, run)
    if (active) await applyForwards(virsh, resource, spec.forwards, run)
    return handle
  })
}

/** Marks the files as hydra-ops's own before creating them, in case the process dies. */
async function claimFiles(
  parts: LibvirtParts,
  places: Places,
  resource: LibvirtResource,
  handle: LibvirtHandle,
  run: Run,
): Promise<void> {
  const found = readNote(places, resource)
  if (found.kind === 'foreign') throw foreign(resource, found.what)
  const noted = found.kind === 'ours' ? found.note : undefined
  refuseForeignDisks(resource, handle, noted?.handle ?? resource.handle)
  if (places.system && resource.image !== undefined) await publishImage(resource.image, handle.image)
  const guest = guestOf(resource)
  const method = identityMethod(resource, handle.image)
  const identity = identityDigest(guest, method)
  const madeDisks = noted?.madeDisks ?? []
  const note = { deployment: resource.deployment.uuid, machine: resource.machine, handle, madeDisks }
  // The note names the identity whose files were written completely.
  await writeNote(places, { ...note, identity: noted?.identity ?? '' })
  if (noted?.identity === identity && hasIdentity(identityFiles(places, method))) return
  await writeIdentity(parts.local, places, guest, method, run)
  await writeNote(places, { ...note, identity })
}

interface DiskWork {
  readonly resource: LibvirtResource
  readonly handle: LibvirtHandle
  readonly seen: Seen
}

/** Records in the note that every wanted data disk was created. */
async function noteDisks(places: Places, resource: LibvirtResource): Promise<void> {
  const found = readNote(places, resource)
  const wanted = Object.keys(resource.config.extraDisks)
  if (found.kind !== 'ours' || wanted.every((name) => found.note.madeDisks.includes(name))) return
  const madeDisks = [...new Set([...found.note.madeDisks, ...wanted])]
  await writeNote(places, { ...found.note, madeDisks })
}

async function makeDisks(parts: LibvirtParts, virsh: Virsh, work: DiskWork, run: Run): Promise<void> {
  const { resource, handle, seen } = work
  if (!existsSync(handle.disk)) {
    run.log(`creating the disk from base image ${handle.image.reference}`)
    await createOverlay(parts, handle.disk, handle.image, rootBytes(resource, handle.image), run)
  }
  for (const [name, size] of Object.entries(resource.config.extraDisks)) {
    const path = handle.extraDisks[name]
    if (path !== undefined && !existsSync(path)) await createEmpty(parts, path, size, run)
  }
  for (const { path, to } of await sizeChanges(parts, resource, handle, run)) {
    if (seen.kind === 'domain' && seen.state.active && [...seen.next.disks.values()].includes(path)) {
      const call = { what: `grow disk ${path}`, machine: resource.machine }
      const name = await liveName(virsh, resource, path, run)
      await virsh.must(['blockresize', resource.name, name, `${to}B`], call, run)
    } else {
      await growFile(parts, path, to, run)
    }
  }
}

/**
 * Returns the path by which a running guest names a disk. The state folder may have moved since the guest's start.
 */
async function liveName(virsh: Virsh, resource: LibvirtResource, path: string, run: Run): Promise<string> {
  const { files, move } = await liveDisks(virsh, resource, run)
  const old = move === undefined ? path : movedPath(path, move.to, move.from)
  return files.includes(old) ? old : path
}

/** Lists a running guest's disks by their paths at its start, and the folder's move since then, if any. */
async function liveDisks(
  virsh: Virsh,
  resource: LibvirtResource,
  run: Run,
): Promise<{ files: string[]; move: Move | undefined }> {
  const { name, machine } = resource
  const xml = await virsh.must(['dumpxml', name], { what: `inspect domain '${name}'`, machine }, run)
  const facts = parseDomainXml(xml)
  return { files: [...facts.disks.values()], move: placedFacts(facts, resource).move }
}

async function sayWhy(parts: LibvirtParts, run: Run): Promise<void> {
  const answer = await parts.kvm(run)
  if (!answer.works)
    run.log(`KVM does not work here (${answer.why}); the machine runs under emulation (TCG), which is slower`)
}

function isOutdated(seen: Seen, spec: DomainSpec): boolean {
  if (seen.kind === 'absent' || !isDefinedFrom(seen.next, spec)) return true
  if (seen.next.move !== undefined && isReal(seen.next.move)) return true
  const { added, removed } = forwardChanges(seen.next.forwards, spec.forwards)
  return added.length + removed.length > 0 || differsByHand(seen.next, spec)
}

/** Defines a domain from a file, because virsh cannot read its stdin from a socket. The file holds no secret. */
export async function defineXml(
  virsh: Virsh,
  places: Places,
  { name, machine }: LibvirtResource,
  xml: string,
  run: Run,
): Promise<void> {
  const call = { what: `define domain '${name}'`, machine }
  await withDefinition(places, xml, (file) => virsh.must(['define', '--validate', file], call, run))
}

/** Runs an action with a temporary file that holds XML for virsh. */
export async function withDefinition(
  places: Places,
  xml: string,
  action: (file: string) => Promise<unknown>,
): Promise<void> {
  writeFileSync(places.domainXml, xml, { mode: 0o600 })
  try {
    await action(places.domainXml)
  } finally {
    sweepDefinition(places)
  }
}

/** Removes the temporary XML file, which a crash may have left behind. */
export function sweepDefinition({ domainXml }: Places): void {
  rmSync(domainXml, { force: true })
}

async function setAutostart(virsh: Virsh, resource: LibvirtResource, seen: Seen, run: Run): Promise<void> {
  const { name, machine, config } = resource
  if ((seen.kind === 'domain' && seen.autostart) === config.autostart) return
  const call = { what: `set autostart of domain '${name}'`, machine }
  await virsh.must(['autostart', ...(config.autostart ? [] : ['--disable']), name], call, run)
}
