import { existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import type { ReconcileOptions } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { lostRootReason, refuseForeignDisks, refuseLostDisks, requireRecreate } from '../common/disks.js'
import { foreign, withNotedHandle } from '../common/places.js'
import { lostOnes } from './changes.js'
import { dataDisks, type VirtualBoxHandle } from './config.js'
import { defineMachine, mark } from './define.js'
import { destroyMachine } from './destroy.js'
import { createData, createRoot, growDisk, sizeChanges, sizesOf } from './disks.js'
import { hasSavedMemory, isActive, lookAtChains, lookAtOurs, type Seen, type SeenMachine } from './look.js'
import { moveOf, refuseOtherFiles, registerHere } from './moved.js'
import { applyForwards } from './network.js'
import {
  type Places,
  placesOf,
  readNote,
  type VirtualBoxParts,
  type VirtualBoxResource,
  withFiles,
  writeNote,
} from './places.js'
import { createVBoxManage, type VBoxManage } from './vboxmanage.js'
import { imageFor, reasonToRecreate, wantedHandle, wantedSpec } from './wanted.js'

/**
 * Creates the machine, or changes it as far as its state allows; never starts the machine. A recreation cuts the power
 * first.
 */
export async function reconcile(
  parts: VirtualBoxParts,
  resource: VirtualBoxResource,
  options: ReconcileOptions<VirtualBoxHandle>,
  run: Run,
): Promise<VirtualBoxHandle> {
  const places = placesOf(resource)
  const vbox = createVBoxManage(parts)
  const seen = await lookAtOurs(vbox, places, resource, run)
  const note = readNote(places, resource)
  const known = withNotedHandle(resource, note)
  const recreate = reasonToRecreate(known)?.detail ?? lostRootReason(known.handle, seen.kind !== 'absent')
  if (recreate !== undefined) {
    requireRecreate(resource, recreate, options.allowRecreate)
    // This call throws for a missing image before the machine is destroyed.
    imageFor(resource)
    await destroyMachine(parts, known, run)
    return reconcile(parts, { ...resource, handle: undefined }, options, run)
  }
  if (!options.allowRecreate) {
    const media = seen.kind === 'machine' ? await lookAtChains(vbox, known, seen.facts, run) : []
    refuseLostDisks(resource, lostOnes(known, seen, note, media))
  }
  return withFiles(resource, 'create the files of the machine', async () => {
    const handle = wantedHandle(places, known)
    await claimFiles(places, known, handle)
    await options.checkpoint(handle)
    const made = { ...known, handle }
    await makeDisks(parts, vbox, made, handle, run)
    const present = await ensureMachine(vbox, places, made, seen, run)
    await noteDisks(places, made)
    await settle(parts, vbox, { resource: made, handle, seen: present }, run)
    return handle
  })
}

/** Marks the files as hydra-ops's own before creating them, in case the process dies. */
async function claimFiles(
  places: Places,
  resource: VirtualBoxResource,
  handle: VirtualBoxHandle,
): Promise<void> {
  const found = readNote(places, resource)
  if (found.kind === 'foreign') throw foreign(resource, found.what)
  const noted = found.kind === 'ours' ? found.note : undefined
  refuseForeignDisks(resource, handle, noted?.handle ?? resource.handle)
  const { deployment, machine } = resource
  const rest = { identity: noted?.identity ?? '', madeDisks: noted?.madeDisks ?? [] }
  await writeNote(places, { deployment: deployment.uuid, machine, handle, ...rest })
}

/** Records in the note that every wanted data disk was created. */
async function noteDisks(places: Places, resource: VirtualBoxResource): Promise<void> {
  const found = readNote(places, resource)
  const wanted = dataDisks(resource.config).map(([name]) => name)
  if (found.kind !== 'ours' || wanted.every((name) => found.note.madeDisks.includes(name))) return
  await writeNote(places, { ...found.note, madeDisks: [...new Set([...found.note.madeDisks, ...wanted])] })
}

async function makeDisks(
  parts: VirtualBoxParts,
  vbox: VBoxManage,
  resource: VirtualBoxResource,
  handle: VirtualBoxHandle,
  run: Run,
): Promise<void> {
  if (!existsSync(handle.disk)) {
    run.log(`creating the disk from base image ${handle.image.reference}`)
    await createRoot(parts, vbox, resource, handle, run)
  }
  for (const [name, { size, baseImage }] of dataDisks(resource.config)) {
    const path = handle.extraDisks[name]
    if (path === undefined || existsSync(path)) continue
    await createData(parts, vbox, resource.machine, { path, sizeMiB: size, baseImage }, run)
  }
}

/** Creates the machine, or adopts what a crash or a move left behind. */
async function ensureMachine(
  vbox: VBoxManage,
  places: Places,
  resource: VirtualBoxResource,
  before: Exclude<Seen, { kind: 'foreign' }>,
  run: Run,
): Promise<SeenMachine> {
  const { name, machine, deployment, handle } = resource
  const call = { what: `make machine '${name}'`, machine }
  let seen = before
  if (seen.kind === 'inaccessible') {
    await registerHere(vbox, places, resource, seen.uuid, run)
    seen = await lookAtOurs(vbox, places, resource, run)
  }
  if (seen.kind === 'machine') seen = await followMove(vbox, places, resource, seen, run)
  if (seen.kind === 'absent') {
    await registerHere(vbox, places, resource, undefined, run)
    seen = await lookAtOurs(vbox, places, resource, run)
  }
  if (seen.kind === 'absent') {
    const args = ['--ostype', 'Linux26_64', '--register', '--basefolder', places.folder]
    await vbox.must(['createvm', '--name', name, ...args, '--uuid', handle?.uuid ?? ''], call, run)
    seen = await lookAtOurs(vbox, places, resource, run)
  }
  if (seen.kind !== 'machine') throw foreign(resource, `machine '${name}'`)
  if (seen.mark.machine === undefined) {
    await mark(vbox, seen.facts.uuid, { deployment: deployment.uuid, machine }, call, run)
  }
  return seen
}

/** Registers a stopped machine again if its files were moved. */
export async function followMove(
  vbox: VBoxManage,
  places: Places,
  resource: VirtualBoxResource,
  seen: SeenMachine,
  run: Run,
): Promise<Awaited<ReturnType<typeof lookAtOurs>>> {
  if (moveOf(seen.facts, resource) === undefined) return seen
  if (isActive(seen.facts)) {
    refuseOtherFiles(seen.facts, resource)
    return seen
  }
  await registerHere(vbox, places, resource, seen.facts.uuid, run)
  return lookAtOurs(vbox, places, resource, run)
}

/**
 * Applies the wanted settings as far as the machine's state allows. Forwarded ports can change at any time; all
 * other settings change only while the machine is off.
 */
export async function settle(
  parts: VirtualBoxParts,
  vbox: VBoxManage,
  {
    resource,
    handle,
    seen,
  }: {
    readonly resource: VirtualBoxResource
    readonly handle: VirtualBoxHandle
    readonly seen: SeenMachine
  },
  run: Run,
): Promise<void> {
  const spec = wantedSpec(resource, handle)
  const { facts } = seen
  if (isActive(facts)) {
    await applyForwards(vbox, resource, { facts, wanted: spec.forwards }, run)
    return
  }
  // Saved memory fits only the settings of its time. New settings follow at the next start without saved memory.
  if (hasSavedMemory(facts)) return
  mkdirSync(dirname(resource.console), { recursive: true, mode: 0o700 })
  const media = await lookAtChains(vbox, resource, facts, run)
  const sized = await sizesOf(parts, resource, handle, { attached: facts.attached.values(), media }, run)
  for (const change of sizeChanges(resource.machine, sized, { hasSnapshots: facts.hasSnapshots, media })) {
    await growDisk(vbox, change, resource.machine, run)
  }
  await defineMachine(parts, vbox, { resource, handle, seen, spec }, run)
}
