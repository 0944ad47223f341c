import * as z from 'zod'
import { failure } from '../../src/core/errors.js'
import type { BaseImage } from '../../src/core/image.js'
import { documented, type OptionWords } from '../../src/core/option-docs.js'
import type { ResourceChange } from '../../src/core/provider.js'
import { shellQuote } from '../../src/core/shell-quote.js'

/** Creates the schema of an optional text; NixOps writes "" for a missing value. */
export function optionalText(description: string, example: string, words: OptionWords = {}) {
  // A transformed schema loses its examples in a JSON schema, so the text schema keeps them.
  const text = documented(z.string().nullable().default(null), description, example, words)
  return text.transform((given) => (given === '' ? null : given))
}

/** Options that name the base image. */
export const imageOptions = {
  baseImage: optionalText(
    'base image: a name in `hydra-ops image list`, a qcow2 or raw file, or a URL. A later change needs `--allow-recreate`. `"nixos"` is built from the nixpkgs of the machine, and is experimental',
    'debian-12',
    { path: true, shownDefault: 'the image for `deployment.os` (`"debian-12"`, `"nixos"`)' },
  ),
  baseImageSha256: documented(
    z
      .string()
      .regex(/^[0-9a-f]{64}$/, '64 hexadecimal digits, as sha256sum prints them')
      .nullable()
      .default(null),
    'SHA-256 of the file at the URL, as `sha256sum` prints it',
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    { shownType: 'hex' },
  ),
}

/** The base image from which a machine was created. */
export const MadeFrom: z.ZodType<BaseImage> = z.object({
  id: z.string(),
  reference: z.string(),
  disk: z.string(),
  format: z.enum(['qcow2', 'raw']),
  virtualBytes: z.number(),
  kernel: z.string().optional(),
  initrd: z.string().optional(),
  cmdline: z.string().optional(),
  identity: z.enum(['fwcfg', 'nocloud', 'none']),
})

/** The reason why a machine must be recreated, and a hint to avoid the recreation. */
export type Recreation = Pick<ResourceChange, 'detail' | 'hint'>

/** Returns the difference if the machine was created from an image other than the wanted image. */
export function imageChange(made: BaseImage, wanted: string): Recreation | undefined {
  return made.reference === wanted ? undefined : { detail: `base image ${made.reference} → ${wanted}` }
}

/** Returns the image for a new machine; throws if the image does not exist yet. */
export function requireImage(
  { image, machine }: { readonly image: BaseImage | undefined; readonly machine: string },
  reference: string,
): BaseImage {
  if (image !== undefined) return image
  throw failure('NO_IMAGE', `the base image of machine '${machine}' does not exist yet`, {
    machine,
    hint: `hydra-ops image build ${shellQuote(reference)}`,
  })
}

/** Returns only the fields that a handle needs, with converted paths; size on disk and date are left out. */
export function placedImage(image: BaseImage, at: (path: string) => string = (path) => path): BaseImage {
  const { id, reference, format, virtualBytes, identity, disk, kernel, initrd, cmdline } = image
  return {
    id,
    reference,
    format,
    virtualBytes,
    identity,
    disk: at(disk),
    ...(kernel === undefined ? {} : { kernel: at(kernel) }),
    ...(initrd === undefined ? {} : { initrd: at(initrd) }),
    ...(cmdline === undefined ? {} : { cmdline }),
  }
}
