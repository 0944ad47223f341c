import { existsSync, readdirSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { failure } from '../../src/core/errors.js'
import type { Run } from '../../src/core/run.js'
import { foreign, removeConsole, removeIfEmpty, removeNoteDrafts } from '../common/places.js'
import { waitUntilOff } from '../common/power.js'
import { hasSavedMemory, isActive, lookAtMedia, lookAtOurs, type SeenMachine } from './look.js'
import { ancestorsOf, childrenFirst } from './media.js'
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
  await removeMedia(vbox, places, resource, run)
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
  if (seen.kind === 'absent') return
  if (seen.kind === 'inaccessible') {
    await vbox.mustUnlocked(['unregistervm', seen.uuid], call, run)
    return
  }
  const { uuid } = seen.facts
  await cutPower(vbox, places, resource, run)
  if (hasSavedMemory(seen.facts)) await vbox.attempt(['discardstate', uuid], call, run)
  await spareForeignDisks(vbox, places, resource, seen, run)
  const outcome = await vbox.attemptUnlocked(['unregistervm', uuid, '--delete'], call, run)
  if (outcome.kind === 'failed' && outcome.failure.complaint !== 'not-found') {
    throw vboxError(outcome.failure, call)
  }
}

/**
 * Detaches disks of somebody else, and disks that build on one: VirtualBox deletes attached disks together with the
 * machine, wherever they lie, and with a linked clone also a base that has no other clone (7.2.22).
 */
async function spareForeignDisks(
  vbox: VBoxManage,
  { folder }: Places,
  { name, machine }: VirtualBoxResource,
  { facts }: SeenMachine,
  run: Run,
): Promise<void> {
  const own = [folder, dirname(facts.settings)]
  const media = await lookAtMedia(vbox, machine, run)
  for (const [slot, path] of facts.attached) {
    if ([path, ...ancestorsOf(path, media)].every((each) => own.some((part) => each.startsWith(`${part}/`))))
      continue
    const [, controller = '', port = '', device = ''] = /^(.*)-(\d+)-(\d+)$/.exec(slot) ?? []
    const args = ['--storagectl', controller, '--port', port, '--device', device, '--medium', 'none']
    const call = { what: `detach ${path} from machine '${name}'`, machine }
    await vbox.mustUnlocked(['storageattach', facts.uuid, ...args], call, run)
  }
}

/** Removes our disks that VirtualBox still knows: detached ones, and those of a crash. */
async function removeMedia(
  vbox: VBoxManage,
  { folder }: Places,
  resource: VirtualBoxResource,
  run: Run,
): Promise<void> {
  const { machine } = resource
  const media = await lookAtMedia(vbox, machine, run)
  const ours = childrenFirst(media).filter(({ location }) => location.startsWith(`${folder}/`))
  for (const { location } of ours) {
    const call = { what: `remove disk ${location}`, machine }
    const outcome = await vbox.attempt(['closemedium', 'disk', location, '--delete'], call, run)
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
