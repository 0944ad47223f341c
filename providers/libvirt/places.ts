import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import * as z from 'zod'
import type { LocalCommands } from '../../src/core/context.js'
import { makeFolderDurably, replaceDurably, temporaryName } from '../../src/core/durable-file.js'
import { failure, messageOf, type OpsError } from '../../src/core/errors.js'
import { mapTexts, movedPath, stateFolderOf } from '../../src/core/moved-paths.js'
import type { Resource } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { type LibvirtAllocation, type LibvirtConfig, LibvirtHandle } from './config.js'
import type { KvmAnswer } from './kvm.js'
import { defaultUri, isSystem } from './virsh.js'

export type LibvirtResource = Resource<LibvirtConfig, LibvirtAllocation, LibvirtHandle>

/** The environment that the provider needs. */
export interface LibvirtParts {
  readonly local: Pick<LocalCommands, 'run'>
  /** User id of this process; 0 = root. */
  readonly uid: number | undefined
  readonly kvm: (run: Run) => Promise<KvmAnswer>
  /** Folder of files for `qemu:///system`: QEMU's own user cannot enter the state folder. */
  readonly systemRoot: string
  /** The kernel's folder of network interfaces. */
  readonly interfaces: string
}

/** Paths of one machine's files. */
export interface Places {
  readonly uri: string
  readonly system: boolean
  readonly folder: string
  readonly note: string
  readonly domainXml: string
  readonly credential: string
  readonly seed: string
}

export function placesOf(parts: LibvirtParts, resource: LibvirtResource): Places {
  const uri = resource.handle?.uri ?? wantedUri(parts, resource)
  const system = isSystem(uri)
  const own = system ? join(parts.systemRoot, resource.deployment.uuid, resource.machine) : resource.disks
  const folder = resource.handle?.folder ?? own
  return {
    uri,
    system,
    folder,
    note: join(folder, 'owner.json'),
    domainXml: join(folder, 'domain.xml'),
    credential: join(folder, 'identity.tmpfiles'),
    seed: join(folder, 'seed.iso'),
  }
}

export function wantedUri(parts: LibvirtParts, resource: LibvirtResource): string {
  return resource.config.URI ?? defaultUri(parts.uid)
}

/** The first file to be written, which names the owner of the files beside it and the origin of the machine. */
const Note = z.object({
  deployment: z.string(),
  machine: z.string(),
  handle: LibvirtHandle,
  /** Hash of the identity files' content. */
  identity: z.string(),
  /** Names of the data disks that were made: a missing file is a lost disk, not a new one. */
  madeDisks: z.array(z.string()).default([]),
})
export type Note = z.infer<typeof Note>

export type NoteFound =
  | { readonly kind: 'none' }
  | { readonly kind: 'ours'; readonly note: Note }
  /** Files in our place without a known owner. */
  | { readonly kind: 'foreign'; readonly what: string }

export function readNote(places: Places, resource: LibvirtResource): NoteFound {
  const { note, folder } = places
  if (existsSync(note)) {
    const parsed = parseNote(note)
    const ours =
      parsed?.deployment === resource.deployment.uuid && parsed.machine === resource.machine
        ? parsed
        : undefined
    if (ours !== undefined) return { kind: 'ours', note: { ...ours, handle: here(ours.handle, resource) } }
    return { kind: 'foreign', what: `'${note}', the note of something else than ${resource.name},` }
  }
  // A crash may have left only the draft of the first note.
  const stranger = namesIn(folder).find((name) => !isDraftOf(note, name))
  if (stranger === undefined) return { kind: 'none' }
  return { kind: 'foreign', what: `'${join(folder, stranger)}', in the place of ${resource.name}'s files,` }
}

/** Returns a note from before a move of the state folder, with present paths. */
function here(handle: LibvirtHandle, { deployment, disks }: LibvirtResource): LibvirtHandle {
  const from = stateFolderOf(handle.folder, deployment.uuid)
  const to = stateFolderOf(disks, deployment.uuid)
  if (from === undefined || to === undefined || from === to) return handle
  return LibvirtHandle.parse(mapTexts(handle, (text) => movedPath(text, from, to)))
}

function namesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : []
}

function parseNote(file: string): Note | undefined {
  try {
    return Note.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch {
    return undefined
  }
}

/** Makes the folder and the note. QEMU's user must be able to pass through the system's folder, but not to list it. */
export function writeNote(places: Places, note: Note): void {
  const mode = places.system ? 0o711 : 0o700
  makeFolderDurably(places.folder, mode)
  replaceDurably(places.note, `${JSON.stringify(note, null, 2)}\n`)
  for (const name of namesIn(places.folder)) {
    if (temporaryName.test(name)) rmSync(join(places.folder, name), { force: true })
  }
}

/** Tells whether a name is that of a draft which a crash left of a file of ours. */
export function isDraftOf(file: string, name: string): boolean {
  return name.startsWith(`${basename(file)}.`) && temporaryName.test(name)
}

export function foreign(resource: LibvirtResource, what: string): OpsError {
  return failure(
    'FOREIGN',
    `machine '${resource.machine}': ${what} exists and is not ours; it was not touched`,
    {
      machine: resource.machine,
      hint: 'rename or remove it, then try again',
    },
  )
}

/** Explains errors with files of ours. */
export async function withFiles<T>(
  resource: LibvirtResource,
  what: string,
  action: () => Promise<T>,
): Promise<T> {
  try {
    return await action()
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || !('syscall' in error)) throw error
    const code = error.code === 'ENOSPC' ? 'DISK_FULL' : 'LIBVIRT_FILES'
    throw failure(code, `machine '${resource.machine}': ${what}: ${messageOf(error)}`, {
      machine: resource.machine,
      cause: error,
    })
  }
}
