import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

let found: string | undefined

/**
 * Returns the root folder of this package, which contains its `.nix` files. The root is the nearest parent folder
 * with a package.json, for the sources as well as for `dist/`.
 */
export function packageRoot(): string {
  found ??= nearest(dirname(fileURLToPath(import.meta.url)))
  return found
}

function nearest(folder: string): string {
  if (existsSync(join(folder, 'package.json'))) return folder
  const parent = dirname(folder)
  if (parent === folder) throw new Error('hydra-ops is not installed properly: its package.json is missing')
  return nearest(parent)
}
