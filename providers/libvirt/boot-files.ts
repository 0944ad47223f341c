import { existsSync } from 'node:fs'
import { failure, type OpsError } from '../../src/core/errors.js'
import type { BaseImage } from '../../src/core/image.js'
import { shellQuote } from '../../src/core/shell-quote.js'
import type { LibvirtHandle } from './config.js'
import { allDisks } from './disks.js'
import type { DomainFacts } from './domain-facts.js'
import type { LibvirtResource, Places } from './places.js'

type AttachedFiles = Pick<DomainFacts, 'disks' | 'credential'>

/**
 * Throws where a file is missing that QEMU needs to start the machine; libvirt's own error would be one raw sentence.
 * `attached` lists the files in the machine's definition: a detached disk may be gone.
 */
export function requireBootFiles(places: Places, resource: LibvirtResource, attached: AttachedFiles): void {
  const { handle, config, machine } = resource
  if (handle === undefined) return
  const { image } = handle
  // A deploy restores the image from the image store.
  const published = places.system && resource.image !== undefined
  const again = 'hydra-ops deploy puts it there again'
  if (isGone(image.disk)) {
    const loss = `its base image ${image.disk} is gone, and its disk holds only what differs from it`
    const copy = `put it back from a copy${madeAgain(image)}; else hydra-ops deploy --allow-recreate, and its disks are lost`
    throw missing('NO_BACKING_FILE', machine, loss, published ? again : copy)
  }
  const disks = new Set(attached.disks.values())
  requireDisks(machine, handle, disks)
  for (const what of ['kernel', 'initrd'] as const) {
    const file = config[what] ?? image[what]
    if (!isGone(file)) continue
    const other = `put it back from a copy; or name another one: deployment.libvirtd.${what}`
    const ofImage = published && config[what] == null
    throw missing('NO_BACKING_FILE', machine, `its ${what} ${file} is gone`, ofImage ? again : other)
  }
  for (const file of [attached.credential, disks.has(places.seed) ? places.seed : undefined]) {
    if (!isGone(file)) continue
    throw missing(
      'NO_IDENTITY',
      machine,
      `its identity file ${file} is gone`,
      'hydra-ops deploy writes it anew',
    )
  }
}

function isGone(file: string | null | undefined): file is string {
  return file != null && !existsSync(file)
}

function missing(code: string, machine: string, what: string, hint: string): OpsError {
  return failure(code, `machine '${machine}': ${what}`, { machine, hint })
}

function requireDisks(machine: string, handle: LibvirtHandle, attached: ReadonlySet<string>): void {
  const names = new Map(Object.entries(handle.extraDisks).map(([name, path]) => [path, `disk ${name}`]))
  const lost = allDisks(handle).filter((path) => attached.has(path) && !existsSync(path))
  const first = lost[0]
  if (first === undefined) return
  const files = lost.map((path) => `${names.get(path) ?? 'its disk'}, ${path}`).join('; ')
  const cost = lost.includes(handle.disk) ? 'all its disks are lost' : 'an empty disk takes its place'
  throw missing(
    'NO_DISK',
    machine,
    `its file is gone: ${files}`,
    `put it back if there is a copy; else hydra-ops deploy --allow-recreate, and ${cost}`,
  )
}

/** Tells how to restore an image: a name by content yields the same image after another fetch or copy. */
function madeAgain({ id, reference }: BaseImage): string {
  return id.startsWith('sha256-') ? `, or bring it again: hydra-ops image build ${shellQuote(reference)}` : ''
}
