import type { StorePath } from './names.js'
import type { Run } from './run.js'

/** The operating system of a machine, as `deployment.os` names it. */
export type SystemKind = 'debian' | 'nixos'

/** The image that hydra-ops makes from the nixpkgs of a machine. */
export const nixosImage = 'nixos'

/** The image of a machine whose definition names none. */
export const defaultImages: Readonly<Record<SystemKind, string>> = { debian: 'debian-12', nixos: nixosImage }

/** Tells whether a reference is the name of an image that hydra-ops makes, and neither a path nor a URL. */
export function isOwnImage(reference: string): boolean {
  return reference === nixosImage || /^debian-[a-z0-9-]+$/.test(reference)
}

const grubSuffix = '-grub'

/** Names the image with the same system and a boot loader on its disk; an image of somebody else has its own. */
export function bootableImage(reference: string): string {
  const lacksLoader = reference !== nixosImage && isOwnImage(reference) && !reference.endsWith(grubSuffix)
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

/** The image `nixos` of one nixpkgs, as the evaluation describes it. */
export interface NixosParts {
  /** The id of these parts, which the id of the image begins with. */
  readonly id: string
  readonly derivation: StorePath
  readonly output: StorePath
}

/** An image that a machine needs. */
export interface WantedImage {
  readonly reference: string
  /** The parts of the image `nixos`; absent for every other image. */
  readonly nixos?: NixosParts | undefined
}

/** The built content of an image `nixos`. */
export interface NixosContent {
  readonly id: string
  /** The folder of this host that holds the store paths. */
  readonly storeFolder: string
  /** The names of the store paths; the last one has the boot loader and its menu. */
  readonly paths: readonly string[]
  /** The size of all paths. */
  readonly bytes: number
  /** The lines that enter the paths in a Nix database. */
  readonly registration: string
}

export interface ImageStore {
  /** Lists every image, including the remains of images that lost a file. */
  list(): Promise<ListedImage[]>
  /**
   * Returns an existing image and makes nothing. `id` finds the exact image that a machine was made from; `recipe` is
   * the id of the parts of an image `nixos`.
   */
  find(reference: string, id?: string, recipe?: string): Promise<BaseImage | undefined>
  /**
   * Makes or fetches a missing image. `refresh` makes a new image in any case. The image `nixos` needs its content,
   * which is asked for only if the image is missing.
   */
  ensure(
    reference: string,
    run: Run,
    options?: { refresh?: boolean; nixos?: { id: string; content(): Promise<NixosContent> } },
  ): Promise<BaseImage>
  /** Removes an image by id or reference; ids in `inUse` must stay. */
  remove(idOrReference: string, inUse: ReadonlySet<string>): Promise<ListedImage[]>
}
