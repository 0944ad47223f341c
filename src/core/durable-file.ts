import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { failure, OpsError } from './errors.js'
import { errnoOf, fsFailure } from './file-failure.js'

const intact = '; the previous content is intact'

/** Pattern for names of hydra-ops's temporary files. The holder of the lock may remove the leftovers of a crash. */
export const temporaryName = /\.[0-9a-f]{12}\.tmp$/

export function temporary(file: string): string {
  return `${file}.${randomBytes(6).toString('hex')}.tmp`
}

type Content = string | Uint8Array

/**
 * Replaces a file asynchronously; the old file gets the name `backup`, if given. A crash or a full disk leaves
 * either the old or the new file, whole. The new file is on the disk when the promise is fulfilled.
 */
export async function replaceFile(
  file: string,
  content: Content,
  { backup, mode = 0o600 }: { readonly backup?: string; readonly mode?: number } = {},
): Promise<void> {
  await writeAs(file, content, mode, async (draft) => {
    if (backup !== undefined) await keepAs(file, backup)
    await rename(draft, file)
  })
}

/** Creates a new file together with its backup, so that a later deletion of the file is noticed. */
export async function addFile(file: string, text: string, backup: string): Promise<void> {
  await writeAs(file, text, 0o600, async (draft) => {
    await rename(draft, file)
    try {
      await keepAs(file, backup)
    } catch (error) {
      await rm(file, { force: true })
      throw error
    }
  })
}

async function writeAs(
  file: string,
  content: Content,
  mode: number,
  name: (draft: string) => Promise<void>,
): Promise<void> {
  const draft = temporary(file)
  try {
    await writeChecked(draft, content, mode, intact)
    await name(draft)
    await syncFolder(dirname(file))
  } catch (error) {
    await rm(draft, { force: true })
    throw error instanceof OpsError ? error : fsFailure(error, 'write', file, intact)
  }
}

/**
 * Creates a new file, whole or not at all. A crash may leave a partial file if the file system lacks hard links. An
 * existing file stays, and the error is node's own `EEXIST`.
 */
export async function createFile(file: string, content: Content, mode = 0o600): Promise<void> {
  const draft = temporary(file)
  try {
    await writeChecked(draft, content, mode)
    try {
      await link(draft, file)
    } catch (error) {
      if (!hasNoLinks(error)) throw error
      await writeNew(file, content, mode)
    }
    await syncFolder(dirname(file))
  } catch (error) {
    if (error instanceof OpsError || errnoOf(error) === 'EEXIST') throw error
    throw fsFailure(error, 'write', file)
  } finally {
    await rm(draft, { force: true })
  }
}

/**
 * Writes a new file directly under its final name, and removes a partial file after a failure. An existing file
 * stays.
 */
async function writeNew(file: string, content: Content, mode: number): Promise<void> {
  try {
    await writeChecked(file, content, mode)
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') await rm(file, { force: true })
    throw error
  }
}

/** Removes a backup and then its file from the disk, so that a backup never remains without its file. */
export async function removeFile(file: string, backup: string, removed: () => void): Promise<void> {
  try {
    for (const each of [backup, file]) {
      await rm(each, { force: true })
      await syncFolder(dirname(each))
      removed()
    }
  } catch (error) {
    throw fsFailure(error, 'remove', file)
  }
}

/**
 * Appends one line, which is on the disk when the promise is fulfilled. If a crash cut off the last line, that line
 * is ended first, so that both lines stay separate. A line that does not fit is removed again.
 */
export async function appendLine(file: string, line: string): Promise<void> {
  try {
    const handle = await open(file, 'a+', 0o600)
    try {
      const { size } = await handle.stat()
      const last = Buffer.alloc(1)
      const torn = size > 0 && (await handle.read(last, 0, 1, size - 1)).bytesRead === 1 && last[0] !== 0x0a
      try {
        await handle.writeFile(`${torn ? '\n' : ''}${line}\n`)
        await handle.sync()
      } catch (error) {
        await handle.truncate(size)
        throw error
      }
    } finally {
      await handle.close()
    }
  } catch (error) {
    throw fsFailure(error, 'write', file, intact)
  }
}

/** Renames a file that another program wrote, after flushing its content to the disk. */
export async function renameDurably(draft: string, file: string): Promise<void> {
  await syncFile(draft)
  await rename(draft, file)
  await syncFolder(dirname(file))
}

/**
 * Creates a folder and its parents, for its owner alone. All these folders are on the disk when the promise is
 * fulfilled.
 */
export async function makeFolderDurably(folder: string, mode = 0o700): Promise<void> {
  try {
    const first = await mkdir(folder, { recursive: true, mode })
    if (first === undefined) return
    for (let made = folder; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made))
  } catch (error) {
    throw fsFailure(error, 'make the folder', folder)
  }
}

/**
 * Writes a file and checks it by reading it back. conf and write-file-atomic report success for a short write on a
 * full disk.
 */
async function writeChecked(file: string, content: Content, mode: number, rest = ''): Promise<void> {
  const handle = await open(file, 'wx', mode)
  try {
    await handle.writeFile(content)
    await handle.sync()
  } finally {
    await handle.close()
  }
  if (!(await readFile(file)).equals(Buffer.from(content))) throw shortWrite(file, rest)
}

/** Creates the error for a file that a full disk silently truncated. */
function shortWrite(file: string, rest: string): OpsError {
  return failure('DISK_FULL', `cannot write ${file}: the disk holds fewer bytes than were written${rest}`, {
    hint: `make room on the disk of ${file}, then run the same command again`,
  })
}

/** Gives the existing file a second name. No bytes are copied, so a full disk cannot truncate the backup. */
async function keepAs(file: string, backup: string): Promise<void> {
  const draft = temporary(backup)
  try {
    await link(file, draft)
  } catch (error) {
    if (!hasNoLinks(error)) throw error
    await writeChecked(draft, await readFile(file), 0o600, intact)
  }
  await rename(draft, backup)
  // rename(2) does nothing if both names already refer to the same file.
  await rm(draft, { force: true })
}

/** Tells whether an error means that the file system lacks hard links (vfat, folders shared into a VM). */
function hasNoLinks(error: unknown): boolean {
  return ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK'].includes(errnoOf(error) ?? '')
}

/** Flushes a file's content to the disk. */
export async function syncFile(file: string): Promise<void> {
  const handle = await open(file, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * Flushes a folder's entries to the disk, so that renames in the folder survive a power cut. Shared file systems of
 * other hosts (vboxsf, CIFS) do not support such a flush.
 */
export async function syncFolder(folder: string): Promise<void> {
  try {
    await syncFile(folder)
  } catch (error) {
    if (!['EINVAL', 'ENOTSUP', 'EOPNOTSUPP'].includes(errnoOf(error) ?? '')) throw error
  }
}
