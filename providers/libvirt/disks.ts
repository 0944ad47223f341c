import { chmodSync, existsSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { XMLParser } from 'fast-xml-parser'
import * as z from 'zod'
import { describeEnd } from '../../src/core/command-result.js'
import { renameDurably } from '../../src/core/durable-file.js'
import { failure, usageError } from '../../src/core/errors.js'
import type { BaseImage } from '../../src/core/image.js'
import type { Run } from '../../src/core/run.js'
import { settleAll } from '../../src/core/settle.js'
import { checkEach } from '../../src/core/several-errors.js'
import { draftOf } from '../common/draft.js'
import type { LibvirtHandle } from './config.js'
import { foreign, type LibvirtParts, type LibvirtResource, type Places } from './places.js'
import { createVirsh } from './virsh.js'

const gibibyte = 1024 ** 3

/** Deadline for an empty disk or an overlay: each takes milliseconds, and longer on a busy host. */
const deadlineMs = 120_000

/** Returns the size of a root disk: at least the size of the image. */
export function rootBytes(resource: LibvirtResource, image: BaseImage): number {
  return Math.max(resource.config.baseImageSize * gibibyte, image.virtualBytes)
}

/** Finds the folder of a storage pool, or the machine's own. */
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
  const parsed = Pool.safeParse(
    new XMLParser({ ignoreAttributes: false, attributeNamePrefix: '@', htmlEntities: true }).parse(text),
  )
  if (parsed.success) return parsed.data.pool.target.path
  throw usageError(`machine '${machine}': storage pool '${pool}' is not a directory`, {
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

/** Refuses a file in a storage pool that has the name of ours and is not in our note. */
export function refuseForeignDisks(
  resource: LibvirtResource,
  wanted: LibvirtHandle,
  noted: LibvirtHandle | undefined,
): void {
  const ours = new Set(noted === undefined ? [] : allDisks(noted))
  const stranger = allDisks(wanted).find((path) => !ours.has(path) && existsSync(path))
  if (stranger !== undefined) throw foreign(resource, `disk '${stranger}'`)
}

export function allDisks(handle: LibvirtHandle): string[] {
  return [handle.disk, ...Object.values(handle.extraDisks)]
}

const QemuImgInfo = z.object({ 'virtual-size': z.number(), 'backing-filename': z.string().optional() })

export async function virtualBytes(parts: LibvirtParts, path: string, run: Run): Promise<number> {
  return (await diskInfo(parts, path, run))['virtual-size']
}

async function diskInfo(parts: LibvirtParts, path: string, run: Run): Promise<z.infer<typeof QemuImgInfo>> {
  // -U reads the disk even while a guest uses it.
  const text = await qemuImg(parts, ['info', '-U', '--output=json', path], `look at disk ${path}`, run)
  return QemuImgInfo.parse(JSON.parse(text))
}

/**
 * Updates the path of the base image in the disk of a machine that is off. Only the path is written; a disk on another
 * base stays unchanged.
 */
export async function followImage(
  parts: LibvirtParts,
  { disk, image }: LibvirtHandle,
  run: Run,
): Promise<void> {
  const backing = (await diskInfo(parts, disk, run))['backing-filename']
  if (backing === undefined || backing === image.disk || basename(backing) !== basename(image.disk)) return
  const args = ['rebase', '-u', '-q', '-f', 'qcow2', '-F', image.format, '-b', image.disk, disk]
  await qemuImg(parts, args, `name the base image of disk ${disk}`, run)
}

/** Makes a disk, complete or not at all. */
async function create(parts: LibvirtParts, path: string, args: readonly string[], run: Run): Promise<void> {
  const draft = draftOf(path)
  rmSync(draft, { force: true })
  // The size follows the file, and the options precede it.
  const [size, ...options] = args
  await qemuImg(
    parts,
    ['create', '-q', '-f', 'qcow2', ...options, draft, size ?? ''],
    `make disk ${path}`,
    run,
  )
  // Other users may pass through the system's folder.
  chmodSync(draft, 0o600)
  renameDurably(draft, path)
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
  await qemuImg(parts, ['resize', '-q', path, String(bytes)], `grow disk ${path}`, run)
}

async function qemuImg(
  parts: LibvirtParts,
  args: readonly string[],
  what: string,
  run: Run,
): Promise<string> {
  const result = await parts.local.run(['qemu-img', ...args], {
    signal: run.signal,
    timeoutMs: deadlineMs,
    what,
    env: { LC_ALL: 'C' },
  })
  if (result.kind === 'exited' && result.code === 0) return result.stdout
  const full = /No space left on device/.test(result.stderr)
  throw failure(full ? 'DISK_FULL' : 'DISK', `${what}: ${result.stderr.trim() || describeEnd(result)}`)
}

/** A data disk that was made and is missing. */
export interface LostDisk {
  readonly name: string
  readonly path: string
}

/**
 * Names wanted data disks that were made and are missing. A machine without a domain and a root disk has lost nothing
 * worth keeping: all its disks are made.
 */
export function lostDisks(
  resource: LibvirtResource,
  madeDisks: readonly string[],
  attached: ReadonlySet<string> | undefined,
): LostDisk[] {
  const { handle, config } = resource
  if (handle === undefined || (attached === undefined && !existsSync(handle.disk))) return []
  return Object.keys(config.extraDisks).flatMap((name) => {
    const path = handle.extraDisks[name]
    if (path === undefined || existsSync(path)) return []
    return madeDisks.includes(name) || attached?.has(path) === true ? [{ name, path }] : []
  })
}

/** A disk whose size differs from the wanted size. */
export interface SizeChange {
  readonly path: string
  /** `disk`, `disk data`. */
  readonly name: string
  readonly from: number
  readonly to: number
}

/** Lists the disks that must grow, and refuses to shrink one. Disks that do not exist yet are skipped. */
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
  const { machine } = resource
  checkEach(sized, ({ name, from, to }) => {
    if (to >= from) return
    throw usageError(`machine '${machine}': ${name} has ${gib(from)} and cannot shrink to ${gib(to)}`, {
      machine,
      hint: 'to begin with a smaller one, destroy the machine and deploy again',
    })
  })
  return sized.filter(({ from, to }) => to > from)
}

export function gib(bytes: number): string {
  return `${Number((bytes / gibibyte).toFixed(1))} GiB`
}
