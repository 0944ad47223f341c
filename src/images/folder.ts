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
import { lastLines } from '../core/command-result.js'
import type { LocalCommands } from '../core/context.js'
import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import { shellQuote } from '../core/shell-quote.js'

type Commands = Pick<LocalCommands, 'run'>

const unfinished = '.building-'

/** Returns the folder in which the process `id` builds an image before the image gets its final name. */
export function buildingFolder(root: string, id: string): string {
  return join(root, `${unfinished}${id}`)
}

/** Removes the leftovers of unfinished builds. Only the process that may build calls this function. */
export async function sweepUnfinished(local: Commands, root: string, run: Run): Promise<void> {
  for (const name of readdirSync(root)) {
    if (name.startsWith(unfinished)) await removeBuilding(local, join(root, name), run)
  }
}

/**
 * Creates a folder for mmdebstrap's own files. The folder is outside the state folder, because the users of
 * mmdebstrap's namespace cannot enter the state folder. The building folder records the path, so that the files of a killed mmdebstrap can be removed.
 */
export function makeScratch(building: string): string {
  const scratch = mkdtempSync(join(tmpdir(), scratchPrefix))
  chmodSync(scratch, 0o755)
  writeFileSync(join(building, scratchNote), scratch)
  return scratch
}

const scratchPrefix = 'hydra-ops-image-'
const scratchNote = 'scratch'

/** Returns the scratch folder of a build, or undefined if the folder does not exist. */
function scratchOf(building: string): string | undefined {
  const note = join(building, scratchNote)
  if (!existsSync(note)) return undefined
  const scratch = readFileSync(note, 'utf8')
  return basename(scratch).startsWith(scratchPrefix) && existsSync(scratch) ? scratch : undefined
}

/** Removes the folder and the scratch folder of a build that has ended, whether the build failed or not. */
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

/**
 * Removes a folder. Copies of store paths are read-only. Only a process inside the namespace can remove files of the
 * namespace's users. Those users must be able to enter the folder.
 */
async function removeTree(local: Commands, folder: string): Promise<void> {
  if (isRemoved(folder)) return
  makeWritable(folder)
  if (isRemoved(folder)) return
  const result = await local.run(['mmdebstrap', '--unshare-helper', 'rm', '-rf', ...readdirSync(folder)], {
    // The folder is removed even if the build was cancelled.
    signal: new AbortController().signal,
    timeoutMs: 120_000,
    what: 'remove an unfinished image',
    cwd: folder,
  })
  // Files of this user may remain, because the command inside the namespace cannot remove them.
  if (isRemoved(folder)) return
  throw failure('IMAGE_LEFTOVER', `cannot remove ${folder} of an unfinished build`, {
    detail: lastLines(result.stderr, 5),
    hint: `remove it by hand, then try again: sudo rm -rf ${shellQuote(folder)}`,
  })
}

function isRemoved(folder: string): boolean {
  try {
    rmSync(folder, { recursive: true, force: true })
    return true
  } catch {
    return false
  }
}

/** Makes a folder and the folders below it writable for this user, as far as they belong to this user. */
function makeWritable(folder: string): void {
  try {
    // A stricter mode would keep out the users of the namespace, who must remove their files.
    chmodSync(folder, 0o755)
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) makeWritable(join(folder, entry.name))
    }
  } catch {
    // The folder belongs to another user.
  }
}

export function requireSpace(root: string, bytes: number, what: string): void {
  const { bavail, bsize } = statfsSync(root)
  if (bavail * bsize >= bytes) return
  throw failure(
    'DISK_FULL',
    `cannot ${what}: ${root} needs ${mib(bytes)} MiB, but only ${mib(bavail * bsize)} MiB are free`,
    {
      hint: 'hydra-ops image list shows the images; hydra-ops image rm ID removes one image',
    },
  )
}

function mib(bytes: number): number {
  return Math.round(bytes / (1024 * 1024))
}
