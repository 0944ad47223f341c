import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import { replaceFile } from '../core/durable-file.js'
import type { ImageInfo, ListedImage } from '../core/image.js'

/** `image.json`: the known facts of an image. Paths are relative to its folder. */
export const ImageRecord = z.object({
  schemaVersion: z.literal(1),
  id: z.string().min(1),
  reference: z.string().min(1),
  disk: z.string(),
  format: z.enum(['qcow2', 'raw']),
  virtualBytes: z.number().int().positive(),
  kernel: z.string().optional(),
  initrd: z.string().optional(),
  cmdline: z.string().optional(),
  identity: z.enum(['fwcfg', 'nocloud', 'none']),
  builtAt: z.iso.datetime(),
  /** The hash of the recipe that built the image. */
  recipe: z.string().optional(),
  /** The path, size and time of the imported files. */
  sources: z.array(z.object({ path: z.string(), size: z.number(), mtimeMs: z.number() })).optional(),
})
export type ImageRecord = z.infer<typeof ImageRecord>

const recordName = 'image.json'

export interface StoredImage {
  readonly folder: string
  readonly record: ImageRecord
}

export async function writeImageRecord(folder: string, record: ImageRecord): Promise<void> {
  await replaceFile(join(folder, recordName), `${JSON.stringify(record, null, 2)}\n`)
}

/** Reads every complete image below the root, newest first; an image that lost a file is left out. */
export function readImages(root: string): StoredImage[] {
  return readRecorded(root).filter((image) => missingFiles(image).length === 0)
}

/**
 * Lists every image and all remains of images below the root, newest first. Images without a valid record come last.
 */
export function listStored(root: string): ListedImage[] {
  const recorded = readRecorded(root)
  const known = new Set(recorded.map(({ record }) => record.id))
  const remains = foldersOf(root).filter((name) => !known.has(name))
  return [
    ...recorded.map(toImageInfo),
    ...remains.map((id) => ({ id, bytes: diskUsage(join(root, id)), missing: [recordName] })),
  ]
}

/** Reads every image below the root that has a valid record, newest first. */
function readRecorded(root: string): StoredImage[] {
  const stored = foldersOf(root).flatMap((name) => {
    const folder = join(root, name)
    const record = readRecord(folder)
    return record === undefined || record.id !== name ? [] : [{ folder, record }]
  })
  return stored.sort((a, b) => b.record.builtAt.localeCompare(a.record.builtAt))
}

/** Lists the missing files of an image. */
function missingFiles({ folder, record: { disk, kernel, initrd } }: StoredImage): string[] {
  return [disk, kernel, initrd].flatMap((name) =>
    name === undefined || existsSync(join(folder, name)) ? [] : [name],
  )
}

function foldersOf(root: string): string[] {
  try {
    return readdirSync(root).filter(
      (name) =>
        !name.startsWith('.') &&
        statSync(join(root, name), { throwIfNoEntry: false })?.isDirectory() === true,
    )
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}

function readRecord(folder: string): ImageRecord | undefined {
  try {
    return ImageRecord.parse(JSON.parse(readFileSync(join(folder, recordName), 'utf8')))
  } catch {
    return undefined
  }
}

/** Returns the listed facts of an image, with the absolute paths of its files. */
export function toImageInfo(image: StoredImage): ImageInfo {
  const { folder, record } = image
  const path = (name: string | undefined) => (name === undefined ? undefined : join(folder, name))
  const missing = missingFiles(image)
  return {
    id: record.id,
    reference: record.reference,
    disk: join(folder, record.disk),
    format: record.format,
    virtualBytes: record.virtualBytes,
    kernel: path(record.kernel),
    initrd: path(record.initrd),
    cmdline: record.cmdline,
    identity: record.identity,
    bytes: diskUsage(folder),
    builtAt: record.builtAt,
    ...(missing.length === 0 ? {} : { missing }),
  }
}

/** Returns the allocated bytes of the folder's files on the disk, without holes. */
function diskUsage(folder: string): number {
  const blocks = (name: string) => statSync(join(folder, name), { throwIfNoEntry: false })?.blocks ?? 0
  return readdirSync(folder).reduce((sum, name) => sum + blocks(name) * 512, 0)
}
