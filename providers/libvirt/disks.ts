import { chmodSync, existsSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import * as z from 'zod'
import { renameDurably } from '../../src/core/durable-file.js'
import { usageError } from '../../src/core/errors.js'
import type { BaseImage } from '../../src/core/image.js'
import type { Run } from '../../src/core/run.js'
import { settleAll } from '../../src/core/settle.js'
import { qemuImg, type SizeChange, sizeChanges as sizeChangesOf } from '../common/disks.js'
import { draftOf } from '../common/draft.js'
import { parseXml } from '../common/xml.js'
import type { LibvirtHandle } from './config.js'
import type { LibvirtParts, LibvirtResource, Places } from './places.js'
import { createVirsh } from './virsh.js'

const gibibyte = 1024 ** 3

/** Returns the size of a root disk: at least the size of the image. */
export function rootBytes(resource: LibvirtResource, image: BaseImage): number {
  return Math.max(resource.config.baseImageSize * gibibyte, image.virtualBytes)
}

/** Returns the folder of the storage pool, or the machine's own folder without a pool. */
export async function diskFolder(
  parts: LibvirtParts,
  places: Places,
  resource: LibvirtResource,
  run: Run,
): Promise<string> {
  const pool = resource.config.storagePool
  if (pool === null) return places.folder
  const { machine } = resource
  const call = { what: `look up storage pool '${pool}'`, machine }
  const text = await createVirsh(parts.local, places.uri).must(['pool-dumpxml', pool], call, run)
  const parsed = Pool.safeParse(parseXml(text, []))
  if (parsed.success) return parsed.data.pool.target.path
  throw usageError(`machine '${machine}': storage pool '${pool}' is not a directory pool`, {
    machine,
    hint: 'deployment.libvirtd.storagePool = null keeps the disks in a folder of the deployment',
  })
}

const Pool = z.object({
  pool: z.object({ '@type': z.literal('dir'), target: z.object({ path: z.string() }) }),
})

export function rootDiskPath(folder: string, resource: LibvirtResource): string {
  return join(folder, `${resource.name}.qcow2`)
}

export function extraDiskPath(folder: string, resource: LibvirtResource, disk: string): string {
  return join(folder, `${resource.name}.${disk}.qcow2`)
}

const QemuImgInfo = z.object({
  'virtual-size': z.number(),
  'backing-filename': z.string().optional(),
  snapshots: z.array(z.object({ id: z.string(), name: z.string() })).default([]),
})

export async function virtualBytes(parts: LibvirtParts, path: string, run: Run): Promise<number> {
  return (await diskInfo(parts, path, run))['virtual-size']
}

async function diskInfo(parts: LibvirtParts, path: string, run: Run): Promise<z.infer<typeof QemuImgInfo>> {
  // The option -U allows the read even while a guest uses the disk.
  const text = await qemuImg(parts.local, ['info', '-U', '--output=json', path], `inspect disk ${path}`, run)
  return QemuImgInfo.parse(JSON.parse(text))
}

/** Tells whether a disk contains a saved state with that name. */
export async function holdsState(
  parts: LibvirtParts,
  path: string,
  name: string,
  run: Run,
): Promise<boolean> {
  return (await diskInfo(parts, path, run)).snapshots.some((state) => state.name === name)
}

/** Removes every saved state with that name from a disk that no guest uses. */
export async function dropStates(parts: LibvirtParts, path: string, name: string, run: Run): Promise<void> {
  // A crash of libvirt can leave two states with one name, and qemu-img removes one state at a time.
  while (await holdsState(parts, path, name, run)) {
    await qemuImg(parts.local, ['snapshot', '-d', name, path], `remove state '${name}' of disk ${path}`, run)
  }
}

/**
 * Updates the path of the base image in the disk of a machine that is off. Only the path is written; a disk with
 * another base image stays unchanged.
 */
export async function followImage(
  parts: LibvirtParts,
  { disk, image }: LibvirtHandle,
  run: Run,
): Promise<void> {
  const backing = (await diskInfo(parts, disk, run))['backing-filename']
  if (backing === undefined || backing === image.disk || basename(backing) !== basename(image.disk)) return
  const args = ['rebase', '-u', '-q', '-f', 'qcow2', '-F', image.format, '-b', image.disk, disk]
  await qemuImg(parts.local, args, `set the base image of disk ${disk}`, run)
}

/** Creates a disk, either completely or not at all. */
async function create(parts: LibvirtParts, path: string, args: readonly string[], run: Run): Promise<void> {
  const draft = draftOf(path)
  rmSync(draft, { force: true })
  // qemu-img expects the options before the file, and the size after the file.
  const [size, ...options] = args
  await qemuImg(
    parts.local,
    ['create', '-q', '-f', 'qcow2', ...options, draft, size ?? ''],
    `create disk ${path}`,
    run,
  )
  // Other users can enter the folder of system machines.
  chmodSync(draft, 0o600)
  await renameDurably(draft, path)
}

export async function createOverlay(
  parts: LibvirtParts,
  path: string,
  image: BaseImage,
  bytes: number,
  run: Run,
): Promise<void> {
  await create(parts, path, [String(bytes), '-F', image.format, '-b', image.disk], run)
}

export async function createEmpty(parts: LibvirtParts, path: string, gib: number, run: Run): Promise<void> {
  await create(parts, path, [String(gib * gibibyte)], run)
}

/** Grows a disk of a machine that is off. */
export async function growFile(parts: LibvirtParts, path: string, bytes: number, run: Run): Promise<void> {
  await qemuImg(parts.local, ['resize', '-q', path, String(bytes)], `grow disk ${path}`, run)
}

/** Lists the disks that must grow, and refuses to shrink a disk. Disks that do not exist yet are skipped. */
export async function sizeChanges(
  parts: LibvirtParts,
  resource: LibvirtResource,
  handle: LibvirtHandle,
  run: Run,
): Promise<SizeChange[]> {
  const wanted = [
    { name: 'disk', path: handle.disk, to: rootBytes(resource, handle.image) },
    ...Object.entries(resource.config.extraDisks).map(([name, gib]) => ({
      name: `disk ${name}`,
      path: handle.extraDisks[name] ?? '',
      to: gib * gibibyte,
    })),
  ].filter(({ path }) => existsSync(path))
  const sized = await settleAll(
    wanted.map(async (disk) => ({ ...disk, from: await virtualBytes(parts, disk.path, run) })),
  )
  return sizeChangesOf(resource.machine, sized)
}
