import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { LocalCommands } from '../core/context.js'
import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'

type Commands = Pick<LocalCommands, 'run'>

const unfinished = '.building-'

/** Returns the folder in which the process `id` makes an image, before it is renamed to what it is. */
export function buildingFolder(root: string, id: string): string {
  return join(root, `${unfinished}${id}`)
}

/** Removes what builds left that did not end. Only to be called by the one that may build. */
export async function sweepUnfinished(local: Commands, root: string, run: Run): Promise<void> {
  for (const name of readdirSync(root)) {
    if (name.startsWith(unfinished)) await removeBuilding(local, join(root, name), run)
  }
}

/**
 * Makes a folder for mmdebstrap's own files and notes it in the building folder: where mmdebstrap is killed, they are
 * ours to sweep. It is not below the state folder, which the users of its namespace cannot enter.
 */
export function makeScratch(building: string): string {
  const scratch = mkdtempSync(join(tmpdir(), scratchPrefix))
  chmodSync(scratch, 0o755)
  writeFileSync(join(building, scratchNote), scratch)
  return scratch
}

const scratchPrefix = 'hydra-ops-image-'
const scratchNote = 'scratch'

/** Returns the scratch folder of a build; undefined when it has none (any more). */
function scratchOf(building: string): string | undefined {
  const note = join(building, scratchNote)
  if (!existsSync(note)) return undefined
  const scratch = readFileSync(note, 'utf8')
  return basename(scratch).startsWith(scratchPrefix) && existsSync(scratch) ? scratch : undefined
}

/** Removes a build that has ended, whichever way, with its scratch folder. */
export async function removeBuilding(local: Commands, folder: string, run: Run): Promise<void> {
  await removeScratch(local, folder)
  await removeTree(local, join(folder, 'work'))
  rmSync(folder, { recursive: true, force: true })
  run.log(`removed ${join(basename(dirname(folder)), basename(folder))}`)
}

export async function removeScratch(local: Commands, building: string): Promise<void> {
  const scratch = scratchOf(building)
  if (scratch !== undefined) await removeTree(local, scratch)
  rmSync(join(building, scratchNote), { force: true })
}

/** Removes a folder. Files of a namespace's users can be removed from inside that namespace only. */
async function removeTree(local: Commands, folder: string): Promise<void> {
  try {
    rmSync(folder, { recursive: true, force: true })
  } catch {
    await local.run(['mmdebstrap', '--unshare-helper', 'rm', '-rf', ...readdirSync(folder)], {
      // It is swept also when the build was cancelled.
      signal: new AbortController().signal,
      timeoutMs: 120_000,
      what: 'remove an unfinished image',
      cwd: folder,
    })
    rmSync(folder, { recursive: true, force: true })
  }
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
