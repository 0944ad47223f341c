import { existsSync } from 'node:fs'
import { failure } from '../../src/core/errors.js'
import { stateFolderOf } from '../../src/core/moved-paths.js'
import type { Run } from '../../src/core/run.js'
import { isReal, type Move } from '../common/moved.js'
import type { MachineFacts } from './machine-facts.js'
import type { Places, VirtualBoxResource } from './places.js'
import type { VBoxManage } from './vboxmanage.js'

/** Finds the move of the state folder since the machine was registered, if any. */
export function moveOf(facts: MachineFacts, { deployment, disks }: VirtualBoxResource): Move | undefined {
  const from = stateFolderOf(facts.settings, deployment.uuid)
  const to = stateFolderOf(disks, deployment.uuid)
  if (from === undefined || to === undefined || from === to) return undefined
  return isReal({ from, to }) ? { from, to } : undefined
}

/**
 * Refuses to continue with a running guest whose files were left at their old place: the folder was copied, and the
 * guest's writes would be lost.
 */
export function refuseOtherFiles(facts: MachineFacts, { machine, handle }: VirtualBoxResource): void {
  if (!existsSync(facts.settings) || handle === undefined) return
  throw failure(
    'RUNS_ELSEWHERE',
    `machine '${machine}': it runs on ${facts.settings}, and the disk of the state is another file, ${handle.disk}`,
    {
      machine,
      hint: `the state folder was copied or moved to another disk while it ran: move it back, hydra-ops stop --on ${machine}, then move it again`,
    },
  )
}

/** Registers a machine that is off at the present place of its settings, which name its disks by relative paths. */
export async function registerHere(
  vbox: VBoxManage,
  places: Places,
  { name, machine }: VirtualBoxResource,
  uuid: string | undefined,
  run: Run,
): Promise<void> {
  const call = { what: `register machine '${name}' at its present place`, machine }
  if (uuid !== undefined) await vbox.mustUnlocked(['unregistervm', uuid], call, run)
  if (existsSync(places.settings)) await vbox.must(['registervm', places.settings], call, run)
}
