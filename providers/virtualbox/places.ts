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
  /** The VBoxManage program: a name on the PATH, or a path. */
  readonly program: string
  /** The root of this host's file system, whose /dev, /etc and /sys show why VirtualBox does not work. */
  readonly hostRoot: string
  readonly uid: number | undefined
}

/** Paths of one machine's files. */
export interface Places {
  readonly folder: string
  readonly note: string
  /** The folder that VirtualBox creates for the machine. The settings name disks in this folder by relative paths. */
  readonly machineFolder: string
  readonly settings: string
  readonly credential: string
  /** The raw seed file, which is converted to a disk of VirtualBox. */
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

/** Runs an action, and explains failures that concern the machine's own files. */
export async function withFiles<T>(
  resource: VirtualBoxResource,
  what: string,
  action: () => Promise<T>,
): Promise<T> {
  return withFilesOf(resource, 'VIRTUALBOX_FILES', what, action)
}
