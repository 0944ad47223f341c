import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, parse } from 'node:path'
import * as z from 'zod'
import { renameDurably, temporary } from '../../src/core/durable-file.js'
import { usageError } from '../../src/core/errors.js'
import type { BaseImage } from '../../src/core/image.js'
import type { Run } from '../../src/core/run.js'
import { allDisks, qemuImg, type SizeChange, sizeChanges as sizeChangesOf } from '../common/disks.js'
import { draftOf } from '../common/draft.js'
import { dataDisks, rootName, type VirtualBoxConfig, type VirtualBoxHandle } from './config.js'
import { type Medium, ownerOf } from './media.js'
import type { Places, VirtualBoxParts, VirtualBoxResource } from './places.js'
import { type VBoxManage, vboxError } from './vboxmanage.js'
import { vdiBytes } from './vdi.js'

const mebibyte = 1024 ** 2
const gibibyte = 1024 ** 3

/** Deadline for a copy of an image. */
const copyMs = 30 * 60_000

/** Returns the size of a root disk in MiB, VirtualBox's unit. The disk is at least as large as the image. */
export function rootMiB(config: VirtualBoxConfig, image: BaseImage): number {
  const size = config.disks[rootName]?.size ?? 0
  const wanted = size > 0 ? size : config.baseImageSize * (gibibyte / mebibyte)
  return Math.max(wanted, Math.ceil(image.virtualBytes / mebibyte))
}

export function rootDiskPath(places: Places): string {
  return join(places.machineFolder, `${rootName}.vdi`)
}

export function extraDiskPath(places: Places, disk: string): string {
  return join(places.machineFolder, `${disk}.vdi`)
}

/** Returns the path of an image in VirtualBox's format. The file lies beside the original, and is removed with it. */
export function cachedPath(image: BaseImage, sizeMiB?: number): string {
  const { dir, name } = parse(image.disk)
  return join(dir, sizeMiB === undefined ? `${name}.vdi` : `${name}-${sizeMiB}.vdi`)
}

/**
 * Converts an image once. Machines get clones; the image itself is never attached. The result has the given size, if
 * any, because VirtualBox cannot grow a disk that builds on another disk.
 */
async function ensureCached(
  parts: VirtualBoxParts,
  image: BaseImage,
  sizeMiB: number | undefined,
  run: Run,
): Promise<string> {
  const target = cachedPath(image, sizeMiB)
  if (existsSync(target)) return target
  const what = `convert image ${image.reference}`
  const draft = temporary(target)
  const larger = `${draft}.qcow2`
  run.log(`converting image ${image.reference} for VirtualBox`)
  try {
    let source = ['-f', image.format, image.disk]
    if (sizeMiB !== undefined) {
      const args = [
        'create',
        '-q',
        '-f',
        'qcow2',
        '-F',
        image.format,
        '-b',
        image.disk,
        larger,
        `${sizeMiB}M`,
      ]
      await qemuImg(parts.local, args, what, run)
      source = ['-f', 'qcow2', larger]
    }
    const [flag = '', format = '', file = ''] = source
    await qemuImg(parts.local, ['convert', flag, format, '-O', 'vdi', file, draft], what, run, copyMs)
    await renameDurably(draft, target)
  } finally {
    rmSync(draft, { force: true })
    rmSync(larger, { force: true })
  }
  return target
}

/** Creates a disk of VirtualBox, whole or not at all. `make` writes the draft. */
async function create(
  vbox: VBoxManage,
  path: string,
  machine: string,
  make: (draft: string) => Promise<unknown>,
  run: Run,
): Promise<void> {
  const draft = draftOf(path)
  const call = { what: `make disk ${path}`, machine }
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  await forget(vbox, draft, call, run)
  rmSync(draft, { force: true })
  await make(draft)
  // VirtualBox refuses the disk under its final name while the draft with the same UUID is registered.
  await forget(vbox, draft, call, run)
  chmodSync(draft, 0o600)
  await renameDurably(draft, path)
}

/** Removes a file that no machine uses from VirtualBox's registry. */
export async function forget(
  vbox: VBoxManage,
  path: string,
  call: { readonly what: string; readonly machine: string },
  run: Run,
): Promise<void> {
  if (!existsSync(path)) return
  const outcome = await vbox.attempt(['closemedium', 'disk', path], call, run)
  if (outcome.kind === 'done' || outcome.failure.complaint === 'no-file') return
  // A partial file that a crash left is not a disk, and is not in VirtualBox's registry.
  if (outcome.failure.complaint === 'in-use') throw vboxError(outcome.failure, call)
}

/** Creates the root disk: a clone of the image, or a differencing disk on top of the image. */
export async function createRoot(
  parts: VirtualBoxParts,
  vbox: VBoxManage,
  resource: VirtualBoxResource,
  { disk, image }: VirtualBoxHandle,
  run: Run,
): Promise<void> {
  const { machine, config } = resource
  const base = await ensureCached(parts, image, config.linkedClone ? rootMiB(config, image) : undefined, run)
  const call = { what: `make disk ${disk}`, machine, timeoutMs: copyMs }
  const args = (draft: string) =>
    config.linkedClone
      ? ['createmedium', 'disk', '--filename', draft, '--diffparent', base, '--format', 'VDI']
      : ['clonemedium', 'disk', base, draft, '--format', 'VDI']
  const make = async (draft: string) => {
    await vbox.must(args(draft), call, run)
    // The image leaves VirtualBox's registry before the disk counts as created. A crash would otherwise leave the
    // image registered. Another machine may be cloning the image at this moment, so a refusal is not a failure.
    if (!config.linkedClone) await vbox.attempt(['closemedium', 'disk', base], call, run)
  }
  await create(vbox, disk, machine, make, run)
}

/** Creates a data disk: empty, or a copy of its image. */
export async function createData(
  parts: VirtualBoxParts,
  vbox: VBoxManage,
  machine: string,
  disk: { readonly path: string; readonly sizeMiB: number; readonly baseImage: string | null },
  run: Run,
): Promise<void> {
  const { path, sizeMiB, baseImage } = disk
  const what = `make disk ${path}`
  const make = (draft: string) =>
    baseImage === null
      ? vbox.must(
          ['createmedium', 'disk', '--filename', draft, '--size', String(sizeMiB), '--format', 'VDI'],
          { what, machine },
          run,
        )
      : qemuImg(parts.local, ['convert', '-O', 'vdi', baseImage, draft], what, run, copyMs)
  await create(vbox, path, machine, make, run)
}

/** Converts the seed file to a disk of VirtualBox that only its owner can read. A known disk keeps its UUID. */
export async function createSeed(
  parts: VirtualBoxParts,
  vbox: VBoxManage,
  places: Places,
  { machine, uuid }: { readonly machine: string; readonly uuid: string | undefined },
  run: Run,
): Promise<void> {
  const draft = draftOf(places.seedDisk)
  mkdirSync(dirname(draft), { recursive: true, mode: 0o700 })
  // The file is created before qemu-img runs, which would otherwise let every user read it.
  writeFileSync(draft, '', { mode: 0o600 })
  await qemuImg(
    parts.local,
    ['convert', '-f', 'raw', '-O', 'vdi', places.seed, draft],
    'create the seed disk',
    run,
  )
  if (uuid !== undefined) {
    const args = ['internalcommands', 'sethduuid', draft, uuid]
    await vbox.must(args, { what: 'create the seed disk', machine }, run)
  }
  await renameDurably(draft, places.seedDisk)
  rmSync(places.seed, { force: true })
}

const QemuImgInfo = z.object({ 'virtual-size': z.number() })

/** Lists the existing disks with their wanted sizes in bytes. */
export async function sizesOf(
  parts: VirtualBoxParts,
  { config }: VirtualBoxResource,
  handle: VirtualBoxHandle,
  look: { readonly attached: Iterable<string>; readonly media: readonly Medium[] },
  run: Run,
): Promise<SizeChange[]> {
  const ours = new Set(allDisks(handle))
  const attached = new Map(
    [...look.attached].flatMap((path) => {
      const owner = ownerOf(path, look.media, ours)
      return owner === undefined ? [] : [[owner, path] as const]
    }),
  )
  const wanted = [
    { name: 'disk', path: handle.disk, to: rootMiB(config, handle.image) * mebibyte },
    ...dataDisks(config).map(([name, { size }]) => ({
      name: `disk ${name}`,
      path: handle.extraDisks[name] ?? '',
      to: size * mebibyte,
    })),
  ].filter(({ path, to }) => to > 0 && existsSync(path))
  const sized: SizeChange[] = []
  for (const disk of wanted) {
    const file = attached.get(disk.path) ?? disk.path
    const known = look.media.find(({ location }) => location === file)?.capacityMiB
    const from = known === undefined ? await virtualBytes(parts, disk.path, run) : known * mebibyte
    sized.push({ ...disk, path: file, from })
  }
  return sized
}

/** Reads the size that the guest sees. qemu-img cannot read a VDI file that builds on another disk. */
async function virtualBytes(parts: VirtualBoxParts, path: string, run: Run): Promise<number> {
  const known = vdiBytes(path)
  if (known !== undefined) return known
  const args = ['info', '-U', '--output=json', path]
  const info = QemuImgInfo.parse(JSON.parse(await qemuImg(parts.local, args, `look at disk ${path}`, run)))
  return Math.floor(info['virtual-size'] / mebibyte) * mebibyte
}

/** Lists the disks that must grow. Refuses to shrink a disk, or to grow a disk that snapshots build on. */
export function sizeChanges(
  machine: string,
  sized: readonly SizeChange[],
  { hasSnapshots, media }: { readonly hasSnapshots: boolean; readonly media: readonly Medium[] },
): SizeChange[] {
  const changes = sizeChangesOf(machine, sized)
  const [first] = changes
  if (first === undefined) return []
  if (hasSnapshots) {
    throw usageError(`machine '${machine}': ${first.name} cannot grow while the machine has snapshots`, {
      machine,
      hint: 'hydra-ops snapshot list shows the snapshots, and hydra-ops snapshot delete removes one',
    })
  }
  const linked = changes.find(({ path }) =>
    media.some(({ location, parent }) => location === path && parent !== undefined),
  )
  if (linked !== undefined) {
    throw usageError(`machine '${machine}': ${linked.name} is a linked clone, which cannot grow`, {
      machine,
      hint: 'destroy the machine and deploy again: the new machine gets a disk of the wanted size',
    })
  }
  return changes
}

/** Grows a disk of a machine that is off. */
export async function growDisk(
  vbox: VBoxManage,
  { name, path, to }: SizeChange,
  machine: string,
  run: Run,
): Promise<void> {
  const args = ['modifymedium', 'disk', path, '--resize', String(Math.ceil(to / mebibyte))]
  await vbox.mustUnlocked(args, { what: `grow ${name} (${path})`, machine }, run)
}
