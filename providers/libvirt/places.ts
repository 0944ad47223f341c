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

/** What the provider needs around it. */
export interface LibvirtParts {
  readonly local: Pick<LocalCommands, 'run'>
  /** Of this process; 0 = root. */
  readonly uid: number | undefined
  readonly kvm: (run: Run) => Promise<KvmAnswer>
  /** Where the files of `qemu:///system` lie: QEMU's own user cannot enter the state folder. */
  readonly systemRoot: string
  /** Where the kernel lists the network interfaces of this host. */
  readonly interfaces: string
}

/** Where the files of one machine lie. */
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

/** Written before anything else is: says whose the files beside it are, and what the machine was made of. */
const Note = z.object({
  deployment: z.string(),
  machine: z.string(),
  handle: LibvirtHandle,
  /** Changes with what is in the identity files. */
  identity: z.string(),
  /** Names of the data disks that were made: a file that is missing is lost, and not yet to be made. */
  madeDisks: z.array(z.string()).default([]),
})
export type Note = z.infer<typeof Note>

export type NoteFound =
  | { readonly kind: 'none' }
  | { readonly kind: 'ours'; readonly note: Note }
  /** Files where ours would be, of which nobody says that they are ours. */
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
  // A crash may have left nothing but the draft of the first note.
  const stranger = namesIn(folder).find((name) => !isDraftOf(note, name))
  if (stranger === undefined) return { kind: 'none' }
  return { kind: 'foreign', what: `'${join(folder, stranger)}', in the place of ${resource.name}'s files,` }
}

/** Returns what was noted before the state folder was moved, at its present place. */
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

/** Makes the folder and the note. In the system's folder QEMU's user must be able to pass, not to look. */
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

/** For what goes wrong with files of ours. */
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
