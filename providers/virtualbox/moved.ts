import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { failure } from '../../src/core/errors.js'
import type { Run } from '../../src/core/run.js'
import { isReal, type Move, moveSince, runsElsewhere } from '../common/moved.js'
import type { MachineFacts } from './machine-facts.js'
import type { Places, VirtualBoxResource } from './places.js'
import type { VBoxManage } from './vboxmanage.js'

/** Finds the move of the state folder since the machine was registered, if any. */
export function moveOf(facts: MachineFacts, resource: VirtualBoxResource): Move | undefined {
  const move = moveSince(facts.settings, resource)
  return move !== undefined && isReal(move) ? move : undefined
}

/**
 * Refuses to continue if a running guest still uses files at the old path. The state folder was copied, and the
 * guest's writes would otherwise be lost.
 */
export function refuseOtherFiles(facts: MachineFacts, { machine, handle }: VirtualBoxResource): void {
  if (!existsSync(facts.settings) || handle === undefined) return
  throw runsElsewhere(machine, facts.settings, handle.disk)
}

/**
 * Registers a stopped machine at the current path of its settings, which name disks by relative paths. Removes
 * settings that VirtualBox cannot read, unless the machine has snapshots. Only the settings then show which files
 * build on the disks.
 */
export async function registerHere(
  vbox: VBoxManage,
  places: Places,
  { name, machine }: VirtualBoxResource,
  uuid: string | undefined,
  run: Run,
): Promise<void> {
  const { settings, machineFolder } = places
  const call = { what: `register machine '${name}' at its current place`, machine }
  if (uuid !== undefined) await vbox.mustUnlocked(['unregistervm', uuid], call, run)
  if (!existsSync(settings)) return
  const outcome = await vbox.attempt(['registervm', settings], call, run)
  if (outcome.kind === 'done') return
  if (existsSync(join(machineFolder, 'Snapshots'))) {
    const why = `VirtualBox cannot read the settings ${settings} of the machine: ${outcome.failure.message}`
    throw failure('VIRTUALBOX_SETTINGS', `machine '${machine}': ${why}`, {
      machine,
      hint: `restore the previous settings: cp ${settings}-prev ${settings}, then deploy again`,
    })
  }
  rmSync(settings)
}
