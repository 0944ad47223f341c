import { chmodSync, chownSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { temporaryName } from '../../src/core/durable-file.js'
import type { Run } from '../../src/core/run.js'
import { allDisks } from '../common/disks.js'
import { draftOf } from '../common/draft.js'
import { foreign, noteName, removeConsole, removeIfEmpty, removeNoteDrafts } from '../common/places.js'
import type { LibvirtHandle } from './config.js'
import { lookAtOurs } from './look.js'
import {
  type LibvirtParts,
  type LibvirtResource,
  type Places,
  placesOf,
  readNote,
  withFiles,
} from './places.js'
import { createVirsh, type Virsh, virshError } from './virsh.js'

/** Removes the domain and all files of the machine. Succeeds if everything is already gone. */
export async function destroyMachine(
  parts: LibvirtParts,
  resource: LibvirtResource,
  run: Run,
): Promise<void> {
  const places = placesOf(parts, resource)
  await removeDomain(createVirsh(parts.local, places.uri), places, resource, run)
  await withFiles(resource, 'remove the files of the machine', async () =>
    removeFiles(parts, places, resource),
  )
}

async function removeDomain(
  virsh: Virsh,
  places: Places,
  resource: LibvirtResource,
  run: Run,
): Promise<void> {
  const { name, machine } = resource
  const call = { what: `remove domain '${name}'`, machine }
  const seen = await lookAtOurs(virsh, places, resource, run)
  if (seen.kind === 'absent') return
  // A running domain would otherwise survive the undefine until it stops, without any record of it.
  await cutPower(virsh, resource, run)
  const flags = ['--managed-save', '--snapshots-metadata']
  let outcome = await virsh.attempt(['undefine', name, '--nvram', ...flags], call, run)
  // Some drivers of libvirt do not support firmware with stored variables.
  if (outcome.kind === 'failed' && outcome.failure.complaint === 'unsupported-flags') {
    outcome = await virsh.attempt(['undefine', name, ...flags], call, run)
  }
  if (outcome.kind === 'failed' && outcome.failure.complaint !== 'no-domain') {
    throw virshError(outcome.failure, call)
  }
}

/** Cuts the power; succeeds if the machine is already off. */
export async function cutPower(virsh: Virsh, { name, machine }: LibvirtResource, run: Run): Promise<void> {
  const call = { what: `cut the power of domain '${name}'`, machine }
  const outcome = await virsh.attempt(['destroy', name], call, run)
  if (outcome.kind === 'done') return
  if (outcome.failure.complaint === 'not-running' || outcome.failure.complaint === 'no-domain') return
  throw virshError(outcome.failure, call)
}

function removeFiles(parts: LibvirtParts, places: Places, resource: LibvirtResource): void {
  const found = readNote(places, resource)
  if (found.kind === 'foreign') throw foreign(resource, found.what)
  removeConsole(resource.console)
  if (found.kind === 'ours') removeNoted(places, found.note.handle)
  // A crash can leave drafts before the first note is complete, or after the last note is gone.
  removeNoteDrafts(places)
  removeIfEmpty(places.folder)
  removeIfEmpty(dirname(places.folder))
  const handle = found.kind === 'ours' ? found.note.handle : resource.handle
  if (places.system && handle !== undefined) tidySystemImages(parts, handle.image.id)
}

/** Removes the note last: while any file is left, the note names its owner. */
function removeNoted(places: Places, handle: LibvirtHandle): void {
  for (const disk of allDisks(handle)) {
    for (const file of [disk, draftOf(disk)]) rmSync(file, { force: true })
  }
  for (const name of readdirSync(places.folder)) {
    if (name !== basename(places.note)) rmSync(join(places.folder, name), { recursive: true, force: true })
  }
  rmSync(places.note)
}

/**
 * Removes a system image that no machine uses any longer. Root becomes the owner of an image that is still in
 * use.
 */
function tidySystemImages(parts: LibvirtParts, id: string): void {
  const images = join(parts.systemRoot, 'images')
  const folder = join(images, id)
  if (!existsSync(folder)) return
  if (notes(parts.systemRoot).some((text) => text.includes(JSON.stringify(id)))) {
    for (const name of readdirSync(folder)) {
      // A temporary file of another process may disappear at any moment.
      if (temporaryName.test(name)) continue
      chownSync(join(folder, name), 0, 0)
      chmodSync(join(folder, name), 0o444)
    }
    return
  }
  rmSync(folder, { recursive: true, force: true })
  removeIfEmpty(images)
  removeIfEmpty(parts.systemRoot)
}

function notes(systemRoot: string): string[] {
  return readdirSync(systemRoot).flatMap((deployment) =>
    readdirSync(join(systemRoot, deployment)).flatMap((machine) => {
      const note = join(systemRoot, deployment, machine, noteName)
      return existsSync(note) ? [readFileSync(note, 'utf8')] : []
    }),
  )
}
