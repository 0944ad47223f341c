import { chmod, lstat, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Runs `action` with a temporary store as its NIX_REMOTE. An evaluation can then fetch or build before the user's
 * own store exists.
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
 * Removes a folder that contains a chroot store. Folders of a store are read-only, so even their owner could not
 * remove entries.
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
