import type { Run } from './run.js'

/** How an image takes its host name, host key and authorised key at boot. */
export type IdentityMethod = 'fwcfg' | 'nocloud' | 'none'

/** A base image on the operator host. */
export interface BaseImage {
  /** Recipe hash or content hash; what a machine's handle remembers. */
  readonly id: string
  /** What the user calls it: `debian-12`, a path, a URL. */
  readonly reference: string
  /** Absolute path of the qcow2 or raw file. */
  readonly disk: string
  readonly format: 'qcow2' | 'raw'
  readonly virtualBytes: number
  /** Direct-kernel boot where there are these; absolute paths. */
  readonly kernel?: string | undefined
  readonly initrd?: string | undefined
  readonly cmdline?: string | undefined
  readonly identity: IdentityMethod
}

export interface ImageInfo extends BaseImage {
  readonly bytes: number
  readonly builtAt: string
  /** Names of its files that are gone; absent for a whole image. */
  readonly missing?: readonly string[]
}

/** What is left of an image that lost its record: nothing is known of it but its folder. */
export interface ImageRemains {
  /** Name of the folder. */
  readonly id: string
  readonly bytes: number
  readonly missing: readonly string[]
}

export type ListedImage = ImageInfo | ImageRemains

export interface ImageStore {
  /** Lists every image, also what is left of one that lost a file. */
  list(): Promise<ListedImage[]>
  /** The image if it is there already; makes nothing. `id` finds the very one a machine was made from. */
  find(reference: string, id?: string): Promise<BaseImage | undefined>
  /** Makes or fetches it when it is missing. `refresh` makes a new one in any case. */
  ensure(reference: string, run: Run, options?: { refresh?: boolean }): Promise<BaseImage>
  /** Removes one by id or reference; `inUse` are ids that must stay. */
  remove(idOrReference: string, inUse: ReadonlySet<string>): Promise<ListedImage[]>
}
