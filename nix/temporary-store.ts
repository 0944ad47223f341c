import { chmod, lstat, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Runs `action` with NIX_REMOTE of a temporary store. An evaluation that must not create the store yet may still fetch
 * or build.
 */
export async function withTemporaryStore<T>(action: (remote: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'hydra-ops-store-'))
  try {
    return await action(folder)
  } finally {
    await removeStore(folder)
  }
}

/**
 * Removes a folder with a chroot store in it. Folders of a store are read-only: even their owner cannot remove entries.
 */
export async function removeStore(folder: string): Promise<void> {
  await makeWritable(folder)
  await rm(folder, { recursive: true, force: true })
}

async function makeWritable(folder: string): Promise<void> {
  await chmod(folder, 0o700)
  for (const name of await readdir(folder)) {
    const path = join(folder, name)
    if ((await lstat(path)).isDirectory()) await makeWritable(path)
  }
}
