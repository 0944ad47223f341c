import { readdirSync, rmSync, statfsSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { LocalCommands } from '../core/context.js'
import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'

const unfinished = '.building-'

/** The folder in which the process `id` makes an image, before it is renamed to what it is. */
export function buildingFolder(root: string, id: string): string {
  return join(root, `${unfinished}${id}`)
}

/** Removes what builds left that did not end. Only to be called by the one that may build. */
export async function sweepUnfinished(
  local: Pick<LocalCommands, 'run'>,
  root: string,
  run: Run,
): Promise<void> {
  for (const name of readdirSync(root)) {
    if (name.startsWith(unfinished)) await removeBuilding(local, join(root, name), run)
  }
}

/** Files of a namespace's users are not ours to remove from outside of it. */
export async function removeBuilding(
  local: Pick<LocalCommands, 'run'>,
  folder: string,
  run: Run,
): Promise<void> {
  try {
    rmSync(folder, { recursive: true, force: true })
  } catch {
    await local.run(['mmdebstrap', '--unshare-helper', 'rm', '-rf', 'tree'], {
      // It is swept also when the build was cancelled.
      signal: new AbortController().signal,
      timeoutMs: 60_000,
      what: 'remove an unfinished image',
      cwd: join(folder, 'work'),
    })
    rmSync(folder, { recursive: true, force: true })
  }
  run.log(`removed ${join(basename(dirname(folder)), basename(folder))}`)
}

export function requireSpace(root: string, bytes: number, what: string): void {
  const { bavail, bsize } = statfsSync(root)
  if (bavail * bsize >= bytes) return
  throw failure(
    'DISK_FULL',
    `${what}: ${mib(bytes)} MiB are needed in ${root}, ${mib(bavail * bsize)} MiB are free`,
    {
      hint: 'hydra-ops image list; hydra-ops image rm ID',
    },
  )
}

function mib(bytes: number): number {
  return Math.round(bytes / (1024 * 1024))
}
