import { existsSync } from 'node:fs'
import { missingFile, requireDisks, requireIdentity } from '../common/disks.js'
import type { Places, VirtualBoxResource } from './places.js'

/**
 * Throws if a file is missing that the machine needs to start. VirtualBox's own error is a single raw sentence.
 * `attached` lists the disks in the machine's settings, because a detached disk may be missing.
 */
export function requireBootFiles(
  places: Places,
  resource: VirtualBoxResource,
  attached: ReadonlySet<string>,
): void {
  const { handle, machine, config } = resource
  if (handle === undefined) return
  requireDisks(machine, handle, attached)
  requireIdentity(machine, attached.has(places.seedDisk) ? places.seedDisk : undefined)
  for (const [name, { hostPath }] of Object.entries(config.sharedFolders)) {
    if (existsSync(hostPath)) continue
    throw missingFile(
      'NO_SHARED_FOLDER',
      machine,
      `the folder ${hostPath} of shared folder ${name} is gone`,
      `create the folder, or remove it from deployment.virtualbox.sharedFolders`,
    )
  }
}
