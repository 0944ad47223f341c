import type { Run } from './run.js'

/** Tells whether a reference is the name of an image that hydra-ops makes, and neither a path nor a URL. */
export function isOwnImage(reference: string): boolean {
  return /^debian-[a-z0-9-]+$/.test(reference)
}

const grubSuffix = '-grub'

/** Names the image with the same system and a boot loader on its disk; an image of somebody else has its own. */
export function bootableImage(reference: string): string {
  const lacksLoader = isOwnImage(reference) && !reference.endsWith(grubSuffix)
  return lacksLoader ? `${reference}${grubSuffix}` : reference
}

/** The way in which an image takes its host name, host key and authorised key at boot. */
export type IdentityMethod = 'fwcfg' | 'nocloud' | 'none'

/** A base image on the operator host. */
export interface BaseImage {
  /** The recipe hash or content hash, which a machine's handle remembers. */
  readonly id: string
  /** The user's name for the image: `debian-12`, a path, a URL. */
  readonly reference: string
  /** The absolute path of the qcow2 or raw file. */
  readonly disk: string
  readonly format: 'qcow2' | 'raw'
  readonly virtualBytes: number
  /** Absolute paths for a direct-kernel boot; absent for other images. */
  readonly kernel?: string | undefined
  readonly initrd?: string | undefined
  readonly cmdline?: string | undefined
  readonly identity: IdentityMethod
}

export interface ImageInfo extends BaseImage {
  readonly bytes: number
  readonly builtAt: string
  /** The names of the image's lost files; absent for a whole image. */
  readonly missing?: readonly string[]
}

/** The remains of an image that lost its record: only the folder is known. */
export interface ImageRemains {
  /** The name of the folder. */
  readonly id: string
  readonly bytes: number
  readonly missing: readonly string[]
}

export type ListedImage = ImageInfo | ImageRemains

export interface ImageStore {
  /** Lists every image, including the remains of images that lost a file. */
  list(): Promise<ListedImage[]>
  /** Returns an existing image and makes nothing. `id` finds the exact image that a machine was made from. */
  find(reference: string, id?: string): Promise<BaseImage | undefined>
  /** Makes or fetches a missing image. `refresh` makes a new image in any case. */
  ensure(reference: string, run: Run, options?: { refresh?: boolean }): Promise<BaseImage>
  /** Removes an image by id or reference; ids in `inUse` must stay. */
  remove(idOrReference: string, inUse: ReadonlySet<string>): Promise<ListedImage[]>
}
