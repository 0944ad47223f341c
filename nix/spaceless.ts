import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Provides a path without spaces: Nix splits NIX_SSHOPTS at spaces and supports no quotes. A link replaces a path
 * with spaces.
 */
export async function withSpaceless<T>(file: string, use: (path: string) => Promise<T>): Promise<T> {
  if (!/\s/.test(file)) return use(file)
  const root = /\s/.test(tmpdir()) ? '/tmp' : tmpdir()
  const folder = await mkdtemp(join(root, 'hydra-ops-ssh-'))
  try {
    const link = join(folder, 'config')
    await symlink(file, link)
    return await use(link)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
