import { existsSync } from 'node:fs'
import { missingFile, requireBase, requireDisks, requireIdentity } from '../common/disks.js'
import type { DomainFacts } from './domain-facts.js'
import type { LibvirtResource, Places } from './places.js'

type AttachedFiles = Pick<DomainFacts, 'disks' | 'credential'>

/**
 * Throws if QEMU lacks a file that it needs to start the machine. libvirt's own error is one raw sentence.
 * `attached` lists the files in the machine's definition: the file of a detached disk may be gone.
 */
export function requireBootFiles(places: Places, resource: LibvirtResource, attached: AttachedFiles): void {
  const { handle, config, machine } = resource
  if (handle === undefined) return
  const { image } = handle
  // A deploy restores the image from the image store.
  const published = places.system && resource.image !== undefined
  const again = 'hydra-ops deploy restores the file'
  requireBase(machine, image, published ? again : undefined)
  const disks = new Set(attached.disks.values())
  requireDisks(machine, handle, disks)
  for (const what of ['kernel', 'initrd'] as const) {
    const file = config[what] ?? image[what]
    if (file === undefined || existsSync(file)) continue
    const other = `restore the file from a copy, or set deployment.libvirtd.${what} to another file`
    const ofImage = published && config[what] == null
    throw missingFile('NO_BACKING_FILE', machine, `the ${what} ${file} is gone`, ofImage ? again : other)
  }
  requireIdentity(machine, attached.credential)
  requireIdentity(machine, disks.has(places.seed) ? places.seed : undefined)
}
