import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import * as z from 'zod'
import { makeFolderDurably, replaceFile, temporaryName } from '../../src/core/durable-file.js'
import { failure, messageOf, type OpsError } from '../../src/core/errors.js'
import { mapTexts, movedPath, stateFolderOf } from '../../src/core/moved-paths.js'
import type { Resource } from '../../src/core/provider.js'

/** A machine of a provider that creates files. */
export type FiledResource<Handle> = Pick<
  Resource<unknown, unknown, Handle>,
  'deployment' | 'machine' | 'name' | 'disks' | 'console'
>

/** Paths of a machine's folder, and of the note in it that names the owner. */
export interface NotePlaces {
  readonly folder: string
  readonly note: string
}

export const noteName = 'owner.json'

/**
 * The first file in a machine's folder. The note names the owner of the files beside it and the origin of the
 * machine.
 */
export interface Note<Handle> {
  readonly deployment: string
  readonly machine: string
  readonly handle: Handle
  /** Hash of the identity's public part (`identityDigest`). */
  readonly identity: string
  /** Names of the data disks that were created. A missing file of such a disk is a loss. */
  readonly madeDisks: readonly string[]
}

export type NoteFound<Handle> =
  | { readonly kind: 'none' }
  | { readonly kind: 'ours'; readonly note: Note<Handle> }
  /** Files in the machine's folder with an unknown owner. */
  | { readonly kind: 'foreign'; readonly what: string }

/** Schema of a handle, whose `folder` contains the machine's files. */
type HandleSchema<Handle> = z.ZodType<Handle & { readonly folder: string }>

export function readNote<Handle>(
  places: NotePlaces,
  resource: FiledResource<Handle>,
  schema: HandleSchema<Handle>,
): NoteFound<Handle> {
  const { note, folder } = places
  if (existsSync(note)) {
    const parsed = parseNote(note, schema)
    const ours =
      parsed?.deployment === resource.deployment.uuid && parsed.machine === resource.machine
        ? parsed
        : undefined
    if (ours !== undefined)
      return { kind: 'ours', note: { ...ours, handle: here(ours.handle, resource, schema) } }
    return { kind: 'foreign', what: `the note '${note}' of something other than ${resource.name}` }
  }
  // A crash may have left only the draft of the first note.
  const stranger = namesIn(folder).find((name) => !isDraftOf(note, name))
  if (stranger === undefined) return { kind: 'none' }
  return { kind: 'foreign', what: `the file '${join(folder, stranger)}' in the folder of ${resource.name}` }
}

/** Returns a note's handle with current paths, even after a move of the state folder. */
function here<Handle>(
  handle: Handle & { readonly folder: string },
  { deployment, disks }: FiledResource<Handle>,
  schema: HandleSchema<Handle>,
): Handle {
  const from = stateFolderOf(handle.folder, deployment.uuid)
  const to = stateFolderOf(disks, deployment.uuid)
  if (from === undefined || to === undefined || from === to) return handle
  return schema.parse(mapTexts(handle, (text) => movedPath(text, from, to)))
}

export function namesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : []
}

function parseNote<Handle>(file: string, schema: HandleSchema<Handle>) {
  const Schema = z.object({
    deployment: z.string(),
    machine: z.string(),
    handle: schema,
    identity: z.string(),
    madeDisks: z.array(z.string()).default([]),
  })
  try {
    return Schema.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch {
    return undefined
  }
}

/** Creates the folder and the note. */
export async function writeNote<Handle>(places: NotePlaces, note: Note<Handle>, mode = 0o700): Promise<void> {
  await makeFolderDurably(places.folder, mode)
  await replaceFile(places.note, `${JSON.stringify(note, null, 2)}\n`)
  for (const name of namesIn(places.folder)) {
    if (temporaryName.test(name)) rmSync(join(places.folder, name), { force: true })
  }
}

/**
 * Returns the resource with the handle from the note beside the disks, if the resource has none. A crash can lose the
 * handle, and an older state does not have one.
 */
export function withNotedHandle<Handle, R extends { readonly handle: Handle | undefined }>(
  resource: R,
  found: NoteFound<Handle>,
): R {
  if (resource.handle !== undefined) return resource
  return found.kind === 'ours' ? { ...resource, handle: found.note.handle } : resource
}

/** Returns the names of the data disks that exist according to the note beside them. */
export function madeDisksOf(found: NoteFound<unknown>): readonly string[] {
  return found.kind === 'ours' ? found.note.madeDisks : []
}

/** Tells whether a name belongs to a draft of `file` that a crash left. */
export function isDraftOf(file: string, name: string): boolean {
  return name.startsWith(`${basename(file)}.`) && temporaryName.test(name)
}

/**
 * Removes drafts of the note. A crash can leave drafts before the first note is complete, or after the last note is
 * gone.
 */
export function removeNoteDrafts({ folder, note }: NotePlaces): void {
  for (const name of namesIn(folder)) {
    if (isDraftOf(note, name)) rmSync(join(folder, name), { force: true })
  }
}

/** Removes the serial log and its rotated files: `….log.0`, `….log.1`. */
export function removeConsole(file: string): void {
  const folder = dirname(file)
  for (const name of namesIn(folder)) {
    const rest = name.startsWith(basename(file)) ? name.slice(basename(file).length) : undefined
    if (rest !== undefined && /^(?:\.\d+)?$/.test(rest)) rmSync(join(folder, name), { force: true })
  }
  removeIfEmpty(folder)
}

export function removeIfEmpty(folder: string): void {
  if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder)
}

export function foreign({ machine }: { readonly machine: string }, what: string): OpsError {
  return failure(
    'FOREIGN',
    `machine '${machine}': ${what} exists and does not belong to this deployment; it was not changed`,
    {
      machine,
      hint: 'rename or remove the object, then run the command again',
    },
  )
}

/** Explains file errors of `action`. `code` is the code of every error except a full disk. */
export async function withFiles<T>(
  { machine }: { readonly machine: string },
  code: string,
  what: string,
  action: () => Promise<T>,
): Promise<T> {
  try {
    return await action()
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || !('syscall' in error)) throw error
    const full = error.code === 'ENOSPC'
    throw failure(full ? 'DISK_FULL' : code, `machine '${machine}': cannot ${what}: ${messageOf(error)}`, {
      machine,
      cause: error,
    })
  }
}
