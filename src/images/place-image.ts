import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { syncFile, syncFolder } from '../core/durable-file.js'
import type { BaseImage } from '../core/image.js'
import { type ImageRecord, readImages, toImageInfo, writeImageRecord } from './image-record.js'

/** A finished image that is not in its final folder yet. */
export type NewImage = Omit<ImageRecord, 'schemaVersion' | 'builtAt' | 'reference'>

/** Returns the id of an image with this SHA-256; two images with the same id are the same image. */
export function contentId(sha256: string): string {
  return `${contentPrefix}${sha256.slice(0, 32)}`
}

const contentPrefix = 'sha256-'

/**
 * Moves an image to its final folder after all its files are on the disk. The image exists from this moment on. A
 * complete image with the same id stays.
 */
export async function placeImage(
  root: string,
  folder: string,
  made: NewImage & { reference: string },
): Promise<BaseImage> {
  const whole = readImages(root)
  const ids = new Set(whole.map(({ record }) => record.id))
  const id = placeFor(root, made.id, ids)
  const record: ImageRecord = { ...made, id, schemaVersion: 1, builtAt: new Date().toISOString() }
  await writeImageRecord(folder, record)
  const there = whole.find((image) => image.record.id === id)
  const target = join(root, id)
  if (there === undefined) {
    rmSync(target, { recursive: true, force: true })
    for (const name of readdirSync(folder)) await syncFile(join(folder, name))
    renameSync(folder, target)
    await syncFolder(root)
  } else {
    // The existing image also records the new sources, so that a later import finds the image by them.
    const sources = [...(there.record.sources ?? []), ...(record.sources ?? [])]
    await writeImageRecord(target, { ...there.record, sources })
    rmSync(folder, { recursive: true })
  }
  return toImageInfo({ folder: target, record })
}

/**
 * Chooses the id under which an image is kept. Disks of machines may depend on the remains of an image that lost a
 * file. No two builds have the same bytes, so only an id that is derived from the content is reused.
 */
function placeFor(root: string, id: string, whole: ReadonlySet<string>): string {
  if (id.startsWith(contentPrefix)) return id
  let free = id
  for (let number = 2; existsSync(join(root, free)) && !whole.has(free); number += 1) free = `${id}-${number}`
  return free
}
