import { existsSync, readdirSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { failure } from '../../src/core/errors.js'
import type { Run } from '../../src/core/run.js'
import { foreign, removeConsole, removeIfEmpty, removeNoteDrafts } from '../common/places.js'
import { waitUntilOff } from '../common/power.js'
import { hasSavedMemory, isActive, lookAtMedia, lookAtOurs } from './look.js'
import type { MachineFacts } from './machine-facts.js'
import { ancestorsOf, childrenFirst, type Medium } from './media.js'
import {
  type Places,
  placesOf,
  readNote,
  type VirtualBoxParts,
  type VirtualBoxResource,
  withFiles,
} from './places.js'
import { createVBoxManage, type VBoxManage, vboxError } from './vboxmanage.js'

/** Time for a machine's process to end after its power was cut. */
const powerOffMs = 30_000

/** Removes the machine and all its files. Succeeds when everything is already gone. */
export async function destroyMachine(
  parts: VirtualBoxParts,
  resource: VirtualBoxResource,
  run: Run,
): Promise<void> {
  const places = placesOf(resource)
  const vbox = createVBoxManage(parts)
  await removeMachine(vbox, places, resource, run)
  await withFiles(resource, 'remove the files of the machine', async () => removeFiles(places, resource))
}

async function removeMachine(
  vbox: VBoxManage,
  places: Places,
  resource: VirtualBoxResource,
  run: Run,
): Promise<void> {
  const { name, machine } = resource
  const call = { what: `remove machine '${name}'`, machine }
  const seen = await lookAtOurs(vbox, places, resource, run)
  const elsewhere = seen.kind === 'machine' ? dirname(seen.facts.settings) : places.machineFolder
  const folders = [places.folder, elsewhere]
  const isOurs = (path: string) => folders.some((folder) => path.startsWith(`${folder}/`))
  const media = await lookAtMedia(vbox, machine, run)
  refuseClones(machine, media, isOurs)
  if (seen.kind === 'inaccessible') await vbox.mustUnlocked(['unregistervm', seen.uuid], call, run)
  if (seen.kind === 'machine') {
    const { uuid } = seen.facts
    await cutPower(vbox, places, resource, run)
    if (hasSavedMemory(seen.facts)) await vbox.attempt(['discardstate', uuid], call, run)
    // `--delete` would also delete foreign disks: attached disks, and the bases of linked clones.
    const outcome = await vbox.attemptUnlocked(['unregistervm', uuid], call, run)
    if (outcome.kind === 'failed' && outcome.failure.complaint !== 'not-found') {
      throw vboxError(outcome.failure, call)
    }
  }
  await removeMedia(vbox, machine, isOurs, run)
  await forgetBases(vbox, machine, { media, isOurs }, run)
  if (seen.kind === 'machine' && elsewhere !== places.machineFolder) removeMoved(seen.facts, media)
}

/** Refuses to continue while a disk of another machine is based on a disk of this machine. */
function refuseClones(machine: string, media: readonly Medium[], isOurs: (path: string) => boolean): void {
  const clone = media.find(
    ({ location }) => !isOurs(location) && ancestorsOf(location, media).some((path) => isOurs(path)),
  )
  if (clone === undefined) return
  const base = ancestorsOf(clone.location, media).find((path) => isOurs(path))
  throw failure(
    'DISK_IN_USE',
    `machine '${machine}': disk ${clone.location} of another machine is based on its disk ${base}`,
    { machine, hint: 'remove that machine first: it is a linked clone' },
  )
}

/** Removes disks of the machine that VirtualBox still lists: detached disks, and leftovers of a crash. */
async function removeMedia(
  vbox: VBoxManage,
  machine: string,
  isOurs: (path: string) => boolean,
  run: Run,
): Promise<void> {
  const media = await lookAtMedia(vbox, machine, run)
  const ours = childrenFirst(media).filter(({ location }) => isOurs(location))
  for (const { location } of ours) {
    const call = { what: `remove disk ${location}`, machine }
    const gone = existsSync(location) ? ['--delete'] : []
    const outcome = await vbox.attempt(['closemedium', 'disk', location, ...gone], call, run)
    if (outcome.kind === 'done' || outcome.failure.complaint === 'no-file') continue
    const { message } = outcome.failure
    throw outcome.failure.complaint === 'in-use'
      ? failure(
          'DISK_IN_USE',
          `machine '${machine}': disk ${location} is attached to another machine: ${message}`,
          {
            machine,
            hint: 'detach the disk from that machine; VBoxManage list hdds --long names the machine',
          },
        )
      : vboxError(outcome.failure, call)
  }
}

/** Removes base images of linked clones from VirtualBox's registry, unless other disks build on them. */
async function forgetBases(
  vbox: VBoxManage,
  machine: string,
  { media, isOurs }: { readonly media: readonly Medium[]; readonly isOurs: (path: string) => boolean },
  run: Run,
): Promise<void> {
  const bases = media
    .filter(({ location }) => isOurs(location))
    .flatMap(({ location }) => ancestorsOf(location, media))
  for (const base of new Set(bases.filter((path) => !isOurs(path)))) {
    await vbox.attempt(['closemedium', 'disk', base], { what: `forget image ${base}`, machine }, run)
  }
}

/** Removes the files of a machine that another program moved out of its folder; other files there stay. */
function removeMoved({ settings, logFolder }: MachineFacts, media: readonly Medium[]): void {
  const folder = dirname(settings)
  const disks = media.map(({ location }) => location).filter((path) => path.startsWith(`${folder}/`))
  const nvram = settings.replace(/\.vbox$/, '.nvram')
  for (const file of [...disks, settings, `${settings}-prev`, nvram]) rmSync(file, { force: true })
  for (const each of new Set([logFolder, join(folder, 'Snapshots')])) {
    if (each.startsWith(`${folder}/`)) rmSync(each, { recursive: true, force: true })
  }
  removeIfEmpty(folder)
}

/** Cuts the power, and waits until the machine is off and its process has released its lock. */
export async function cutPower(
  vbox: VBoxManage,
  places: Places,
  resource: VirtualBoxResource,
  run: Run,
): Promise<void> {
  const { name, machine } = resource
  const call = { what: `cut the power of machine '${name}'`, machine }
  const seen = await lookAtOurs(vbox, places, resource, run)
  if (seen.kind !== 'machine' || !isActive(seen.facts)) return
  let last = ''
  const steps = {
    ask: async () => {
      const outcome = await vbox.attempt(['controlvm', seen.facts.uuid, 'poweroff'], call, run)
      if (outcome.kind === 'failed') last = `: ${outcome.failure.message}`
    },
    isOff: async () => {
      const now = await lookAtOurs(vbox, places, resource, run)
      return now.kind !== 'machine' || (!isActive(now.facts) && !now.facts.locked)
    },
  }
  if (await waitUntilOff(steps, powerOffMs, run)) return
  throw failure('STILL_RUNNING', `machine '${machine}': its power was cut, but it is still running${last}`, {
    machine,
    hint: `end the process of the machine; pgrep -af ${seen.facts.uuid} finds the process`,
  })
}

function removeFiles(places: Places, resource: VirtualBoxResource): void {
  const found = readNote(places, resource)
  if (found.kind === 'foreign') throw foreign(resource, found.what)
  removeConsole(resource.console)
  if (found.kind === 'ours') removeNoted(places)
  removeNoteDrafts(places)
  removeIfEmpty(places.folder)
  removeIfEmpty(dirname(places.folder))
}

/** Removes the note last, so that the note names the owner while any file is left. */
function removeNoted({ folder, note }: Places): void {
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    if (name !== basename(note)) rmSync(join(folder, name), { recursive: true, force: true })
  }
  rmSync(note)
}
