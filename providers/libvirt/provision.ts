import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { failure } from '../../src/core/errors.js'
import type { ReconcileOptions } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { attachedFiles, differsByHand, madeDisks, withNotedHandle } from './changes.js'
import type { LibvirtHandle } from './config.js'
import { destroyMachine } from './destroy.js'
import {
  createEmpty,
  createOverlay,
  growFile,
  type LostDisk,
  lostDisks,
  refuseForeignDisks,
  rootBytes,
  sizeChanges,
} from './disks.js'
import { type DomainSpec, specDigest } from './domain-spec.js'
import { buildDomainXml } from './domain-xml.js'
import { hasIdentity, identityDigest, identityFiles, identityMethod, writeIdentity } from './identity.js'
import { lookAtOurs } from './look.js'
import { applyForwards, forwardChanges } from './network.js'
import {
  foreign,
  type LibvirtParts,
  type LibvirtResource,
  type Places,
  placesOf,
  readNote,
  withFiles,
  writeNote,
} from './places.js'
import { createVirsh, type Virsh } from './virsh.js'
import { publishImage, reasonToRecreate, wantedHandle, wantedSpec } from './wanted.js'

type Seen = Awaited<ReturnType<typeof lookAtOurs>>

/** Makes the machine as it is wanted, from whatever there is of it. Neither starts nor stops it. */
export async function reconcile(
  parts: LibvirtParts,
  resource: LibvirtResource,
  options: ReconcileOptions<LibvirtHandle>,
  run: Run,
): Promise<LibvirtHandle> {
  const places = placesOf(parts, resource)
  const virsh = createVirsh(parts.local, places.uri)
  const seen = await lookAtOurs(virsh, places, resource, run)
  const known = withNotedHandle(resource, places)
  const recreate = reasonToRecreate(parts, known) ?? lostDisk(known, seen)
  if (recreate !== undefined) {
    requireRecreate(resource, recreate, options.allowRecreate)
    await destroyMachine(parts, known, run)
    return reconcile(parts, { ...resource, handle: undefined }, options, run)
  }
  if (!options.allowRecreate)
    refuseLostDisks(resource, lostDisks(known, madeDisks(places, known), attachedFiles(seen)))
  return withFiles(resource, 'make its files', async () => {
    const handle = await wantedHandle(parts, places, known, run)
    await claimFiles(parts, places, known, handle, run)
    options.checkpoint(handle)
    await makeDisks(parts, virsh, { resource, handle, seen }, run)
    noteDisks(places, resource)
    const spec = await wantedSpec(parts, places, resource, handle, run)
    if (resource.config.domainType === 'auto' && spec.type === 'qemu') await sayWhy(parts, run)
    mkdirSync(dirname(resource.console), { recursive: true, mode: 0o700 })
    sweepDefinition(places)
    if (isOutdated(seen, spec)) await defineXml(virsh, places, resource, buildDomainXml(spec), run)
    await setAutostart(virsh, resource, seen, run)
    if (seen.kind === 'domain' && seen.state.active) await applyForwards(virsh, resource, spec.forwards, run)
    return handle
  })
}

/** A domain without its disk: only `--allow-recreate` may put an empty one in its place. */
function lostDisk({ handle }: LibvirtResource, seen: Seen): string | undefined {
  if (seen.kind === 'absent' || handle === undefined || existsSync(handle.disk)) return undefined
  return `its disk ${handle.disk} is gone`
}

function requireRecreate({ name, machine }: LibvirtResource, why: string, allowed: boolean): void {
  if (allowed) return
  throw failure('NEEDS_RECREATE', `machine '${machine}' (${name}) would have to be made anew: ${why}`, {
    machine,
    hint: 'put it back if there is a copy; or hydra-ops deploy --allow-recreate, and its disks are lost',
  })
}

function refuseLostDisks({ name, machine }: LibvirtResource, lost: readonly LostDisk[]): void {
  if (lost.length === 0) return
  const files = lost.map((disk) => `disk ${disk.name}, ${disk.path}`).join('; ')
  throw failure('NEEDS_RECREATE', `machine '${machine}' (${name}): its file is gone: ${files}`, {
    machine,
    hint: 'put it back if there is a copy; or hydra-ops deploy --allow-recreate, and an empty disk takes its place',
  })
}

/** From here on what lies there is ours, whenever the process ends. */
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
  if (places.system && resource.image !== undefined) publishImage(resource.image, handle.image)
  const method = identityMethod(resource, handle.image)
  const identity = identityDigest(resource, method)
  const madeDisks = noted?.madeDisks ?? []
  const note = { deployment: resource.deployment.uuid, machine: resource.machine, handle, madeDisks }
  // The identity that is noted is the one whose files were written to their end.
  writeNote(places, { ...note, identity: noted?.identity ?? '' })
  if (noted?.identity === identity && hasIdentity(identityFiles(places, method))) return
  await writeIdentity(parts, places, resource, method, run)
  writeNote(places, { ...note, identity })
}

interface DiskWork {
  readonly resource: LibvirtResource
  readonly handle: LibvirtHandle
  readonly seen: Seen
}

/** Notes that every wanted data disk was made. */
function noteDisks(places: Places, resource: LibvirtResource): void {
  const found = readNote(places, resource)
  const wanted = Object.keys(resource.config.extraDisks)
  if (found.kind !== 'ours' || wanted.every((name) => found.note.madeDisks.includes(name))) return
  const madeDisks = [...new Set([...found.note.madeDisks, ...wanted])]
  writeNote(places, { ...found.note, madeDisks })
}

async function makeDisks(parts: LibvirtParts, virsh: Virsh, work: DiskWork, run: Run): Promise<void> {
  const { resource, handle, seen } = work
  if (!existsSync(handle.disk)) {
    run.log(`making its disk on ${handle.image.reference}`)
    await createOverlay(parts, handle.disk, handle.image, rootBytes(resource, handle.image), run)
  }
  for (const [name, size] of Object.entries(resource.config.extraDisks)) {
    const path = handle.extraDisks[name]
    if (path !== undefined && !existsSync(path)) await createEmpty(parts, path, size, run)
  }
  for (const { path, to } of await sizeChanges(parts, resource, handle, run)) {
    if (seen.kind === 'domain' && seen.state.active && [...seen.next.disks.values()].includes(path)) {
      const call = { what: `grow disk ${path}`, machine: resource.machine }
      await virsh.must(['blockresize', resource.name, path, `${to}B`], call, run)
    } else {
      await growFile(parts, path, to, run)
    }
  }
}

async function sayWhy(parts: LibvirtParts, run: Run): Promise<void> {
  const answer = await parts.kvm(run)
  if (!answer.works)
    run.log(`KVM does not work here (${answer.why}): it runs by emulation (TCG), which is slower`)
}

function isOutdated(seen: Seen, spec: DomainSpec): boolean {
  if (seen.kind === 'absent' || seen.next.mark?.spec !== specDigest(spec)) return true
  const { added, removed } = forwardChanges(seen.next.forwards, spec.forwards)
  return added.length + removed.length > 0 || differsByHand(seen.next, spec)
}

/** Defines a domain from a file, for virsh cannot read a pipe that is a socket. Nothing in it is secret. */
export async function defineXml(
  virsh: Virsh,
  places: Places,
  { name, machine }: LibvirtResource,
  xml: string,
  run: Run,
): Promise<void> {
  writeFileSync(places.domainXml, xml, { mode: 0o600 })
  const call = { what: `define domain '${name}'`, machine }
  try {
    await virsh.must(['define', '--validate', places.domainXml], call, run)
  } finally {
    sweepDefinition(places)
  }
}

/** Removes the file that was handed to virsh; a crash leaves it. */
export function sweepDefinition({ domainXml }: Places): void {
  rmSync(domainXml, { force: true })
}

async function setAutostart(virsh: Virsh, resource: LibvirtResource, seen: Seen, run: Run): Promise<void> {
  const { name, machine, config } = resource
  if ((seen.kind === 'domain' && seen.autostart) === config.autostart) return
  const call = { what: `set autostart of domain '${name}'`, machine }
  await virsh.must(['autostart', ...(config.autostart ? [] : ['--disable']), name], call, run)
}
