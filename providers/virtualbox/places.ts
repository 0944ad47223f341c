import { join } from 'node:path'
import type { LocalCommands } from '../../src/core/context.js'
import type { Resource } from '../../src/core/provider.js'
import {
  type Note,
  type NoteFound,
  noteName,
  readNote as readNoteOf,
  withFiles as withFilesOf,
  writeNote as writeNoteOf,
} from '../common/places.js'
import { type VirtualBoxAllocation, type VirtualBoxConfig, VirtualBoxHandle } from './config.js'

export type VirtualBoxResource = Resource<VirtualBoxConfig, VirtualBoxAllocation, VirtualBoxHandle>

/** The environment that the provider needs. */
export interface VirtualBoxParts {
  readonly local: Pick<LocalCommands, 'run'>
  /** The program VBoxManage: a name on the PATH, or a path. */
  readonly program: string
  /** The root of this host's file system, whose /dev, /etc and /sys tell why VirtualBox does not work. */
  readonly hostRoot: string
  readonly uid: number | undefined
}

/** Paths of one machine's files. */
export interface Places {
  readonly folder: string
  readonly note: string
  /** The folder that VirtualBox makes for the machine, in which it names disks by relative paths. */
  readonly machineFolder: string
  readonly settings: string
  readonly credential: string
  /** The seed as a file of ours, which becomes a disk of VirtualBox. */
  readonly seed: string
  readonly seedDisk: string
}

export function placesOf(resource: VirtualBoxResource): Places {
  const folder = resource.handle?.folder ?? resource.disks
  const machineFolder = join(folder, resource.name)
  return {
    folder,
    note: join(folder, noteName),
    machineFolder,
    settings: join(machineFolder, `${resource.name}.vbox`),
    credential: join(folder, 'identity.tmpfiles'),
    seed: join(folder, 'seed.iso'),
    seedDisk: join(machineFolder, 'seed.vdi'),
  }
}

export function readNote(places: Places, resource: VirtualBoxResource): NoteFound<VirtualBoxHandle> {
  return readNoteOf(places, resource, VirtualBoxHandle)
}

export async function writeNote(places: Places, note: Note<VirtualBoxHandle>): Promise<void> {
  await writeNoteOf(places, note)
}

/** Explains errors with files of ours. */
export async function withFiles<T>(
  resource: VirtualBoxResource,
  what: string,
  action: () => Promise<T>,
): Promise<T> {
  return withFilesOf(resource, 'VIRTUALBOX_FILES', what, action)
}
