import { join } from 'node:path'
import type { LocalCommands } from '../../src/core/context.js'
import type { Resource } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import {
  type Note,
  type NoteFound,
  noteName,
  readNote as readNoteOf,
  withFiles as withFilesOf,
  writeNote as writeNoteOf,
} from '../common/places.js'
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
    note: join(folder, noteName),
    domainXml: join(folder, 'domain.xml'),
    credential: join(folder, 'identity.tmpfiles'),
    seed: join(folder, 'seed.iso'),
  }
}

export function wantedUri(parts: LibvirtParts, resource: LibvirtResource): string {
  return resource.config.URI ?? defaultUri(parts.uid)
}

export function readNote(places: Places, resource: LibvirtResource): NoteFound<LibvirtHandle> {
  return readNoteOf(places, resource, LibvirtHandle)
}

/**
 * Creates the folder and writes the note. QEMU's user must be able to traverse the system folder, but not to list
 * it.
 */
export async function writeNote(places: Places, note: Note<LibvirtHandle>): Promise<void> {
  await writeNoteOf(places, note, places.system ? 0o711 : 0o700)
}

/** Runs an action, and explains failures that concern the machine's own files. */
export async function withFiles<T>(
  resource: LibvirtResource,
  what: string,
  action: () => Promise<T>,
): Promise<T> {
  return withFilesOf(resource, 'LIBVIRT_FILES', what, action)
}
