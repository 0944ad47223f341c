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

/** Time in which the process of a machine ends after its power was cut. */
const powerOffMs = 30_000

/** Removes the machine and all our files. Succeeds when all are gone already. */
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
    // `--delete` also deletes disks of somebody else: attached disks, and bases of linked clones.
    const outcome = await vbox.attemptUnlocked(['unregistervm', uuid], call, run)
    if (outcome.kind === 'failed' && outcome.failure.complaint !== 'not-found') {
      throw vboxError(outcome.failure, call)
    }
  }
  await removeMedia(vbox, machine, isOurs, run)
  await forgetBases(vbox, machine, { media, isOurs }, run)
  if (seen.kind === 'machine' && elsewhere !== places.machineFolder) removeMoved(seen.facts, media)
}

/** Refuses while a disk of another machine is based on one of ours. */
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

/** Removes our disks that VirtualBox still knows: detached ones, and those of a crash. */
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
            hint: `detach it there: VBoxManage list hdds --long names the machine`,
          },
        )
      : vboxError(outcome.failure, call)
  }
}

/** Makes VirtualBox forget images of linked clones, as far as nothing else builds on them. */
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

/** Removes the files of a machine that somebody moved out of our folder; other files there stay. */
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

/** Cuts the power, and succeeds when the machine is off and its process has given up its lock. */
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
  throw failure('STILL_RUNNING', `machine '${machine}': its power was cut, and it runs on${last}`, {
    machine,
    hint: `find its process and end it: pgrep -af ${seen.facts.uuid}`,
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

/** Removes the note last: while any file is left, the note names its owner. */
function removeNoted({ folder, note }: Places): void {
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    if (name !== basename(note)) rmSync(join(folder, name), { recursive: true, force: true })
  }
  rmSync(note)
}
