import { lstatSync, readlinkSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

/**
 * Lists the folders of a path and of every link that the path leads through. `bin/hydra-ops` is a link to a package,
 * and the package may be a link to a checkout.
 */
export function linkedFolders(path: string): string[] {
  const target = linkTarget(path)
  return target === undefined
    ? [dirname(path)]
    : [dirname(path), ...linkedFolders(resolve(dirname(path), target))]
}

function linkTarget(path: string): string | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true
    ? readlinkSync(path)
    : undefined
}
