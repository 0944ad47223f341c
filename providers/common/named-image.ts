import { usageError } from '../../src/core/errors.js'

/** A base image as the options of a provider name it; null means that the option is not given. */
export interface ImageOptions {
  readonly baseImage: string | null
  readonly baseImageSha256: string | null
}

/**
 * Returns the reference for a query of the image store. The error for a URL without a SHA-256 names the
 * provider's own option.
 */
export function namedImage(
  { baseImage, baseImageSha256 }: ImageOptions,
  { optionKey, otherwise }: { readonly optionKey: string; readonly otherwise: string },
): string {
  if (baseImage === null) return otherwise
  if (baseImageSha256 !== null) return `${baseImage}#sha256=${baseImageSha256}`
  if (/^https?:\/\//.test(baseImage) && !baseImage.includes('#sha256=')) {
    throw usageError(`base image ${baseImage} needs a SHA-256, because the image comes from a URL`, {
      hint: `set deployment.${optionKey}.baseImageSha256 = "64 hexadecimal digits"`,
    })
  }
  return baseImage
}
