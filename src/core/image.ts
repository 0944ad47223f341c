import type { StorePath } from './names.js'
import type { Run } from './run.js'

/** The operating system of a machine, as `deployment.os` names it. */
export type SystemKind = 'debian' | 'nixos'

/** The image that hydra-ops builds from the nixpkgs of a machine. */
export const nixosImage = 'nixos'

/** The image of a machine whose definition does not name an image. */
export const defaultImages: Readonly<Record<SystemKind, string>> = { debian: 'debian-12', nixos: nixosImage }

/** Tells whether a reference names an image that hydra-ops builds, and is neither a path nor a URL. */
export function isOwnImage(reference: string): boolean {
  return reference === nixosImage || /^debian-[a-z0-9-]+$/.test(reference)
}

const grubSuffix = '-grub'

/**
 * Names the variant of the image that has a boot loader on its disk. An image from another source has its own boot
 * loader.
 */
export function bootableImage(reference: string): string {
  const lacksLoader = reference !== nixosImage && isOwnImage(reference) && !reference.endsWith(grubSuffix)
  return lacksLoader ? `${reference}${grubSuffix}` : reference
}

/** The way in which an image receives its host name, host key and authorised key at boot. */
export type IdentityMethod = 'fwcfg' | 'nocloud' | 'none'

/** A base image on the operator host. */
export interface BaseImage {
  /** The recipe hash or content hash, which a machine's handle records. */
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
  /** The names of the image's missing files; absent for a complete image. */
  readonly missing?: readonly string[]
}

/** The remains of an image that lost its record, so that only its folder is known. */
export interface ImageRemains {
  /** The name of the folder. */
  readonly id: string
  readonly bytes: number
  readonly missing: readonly string[]
}

export type ListedImage = ImageInfo | ImageRemains

/** The image `nixos` for one nixpkgs, as the evaluation describes it. */
export interface NixosParts {
  /** The id of these parts, with which the id of the image begins. */
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
  /** The folder on this host that contains the store paths. */
  readonly storeFolder: string
  /** The names of the store paths. The last path contains the boot loader and its menu. */
  readonly paths: readonly string[]
  /** The total size of the paths. */
  readonly bytes: number
  /** Lines that register the paths in a Nix database. */
  readonly registration: string
}

export interface ImageStore {
  /** Lists every image, including the remains of incomplete images. */
  list(): Promise<ListedImage[]>
  /**
   * Returns an existing image, and never creates an image. `id` finds the exact image that a machine was created
   * from. `recipe` is the id of the parts of an image `nixos`.
   */
  find(reference: string, id?: string, recipe?: string): Promise<BaseImage | undefined>
  /**
   * Builds or downloads a missing image. `refresh` creates a new image in any case. `nixos.content` is called only
   * if the image `nixos` is missing.
   */
  ensure(
    reference: string,
    run: Run,
    options?: { refresh?: boolean; nixos?: { id: string; content(): Promise<NixosContent> } },
  ): Promise<BaseImage>
  /** Removes an image by id or reference. Images with an id in `inUse` must stay. */
  remove(idOrReference: string, inUse: ReadonlySet<string>): Promise<ListedImage[]>
}
