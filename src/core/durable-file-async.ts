import { link, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { hasNoLinks, intact, shortWrite, temporary } from './durable-file.js'
import { OpsError } from './errors.js'
import { errnoOf, fsFailure } from './file-failure.js'

/**
 * Replaces a file while other work goes on; the old file gets the name `backup`. A crash or a full disk leaves either
 * the old or the new file, whole. The new file is on the disk when the promise is fulfilled.
 */
export async function replaceFile(file: string, text: string, backup?: string): Promise<void> {
  await write(file, text, async (draft) => {
    if (backup !== undefined) await keepAs(file, backup)
    await rename(draft, file)
  })
}

/** Makes a new file whose backup is the file itself, so that a later deletion is noticed. */
export async function addFile(file: string, text: string, backup: string): Promise<void> {
  await write(file, text, async (draft) => {
    await rename(draft, file)
    try {
      await keepAs(file, backup)
    } catch (error) {
      await rm(file, { force: true })
      throw error
    }
  })
}

/** Removes a backup and then its file from the disk, an order that never leaves a backup alone. */
export async function removeFile(file: string, backup: string, removed: () => void): Promise<void> {
  try {
    for (const each of [backup, file]) {
      await rm(each, { force: true })
      await syncFolderOf(each)
      removed()
    }
  } catch (error) {
    throw fsFailure(error, 'remove', file)
  }
}

async function write(file: string, text: string, name: (draft: string) => Promise<void>): Promise<void> {
  const draft = temporary(file)
  try {
    await writeChecked(draft, text)
    await name(draft)
    await syncFolderOf(file)
  } catch (error) {
    await rm(draft, { force: true })
    throw error instanceof OpsError ? error : fsFailure(error, 'write', file, intact)
  }
}

async function writeChecked(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx', 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
  if ((await readFile(file, 'utf8')) !== text) throw shortWrite(file, intact)
}

/** Gives the existing file a second name: no bytes are copied, so a full disk cannot truncate the backup. */
async function keepAs(file: string, backup: string): Promise<void> {
  const draft = temporary(backup)
  try {
    await link(file, draft)
  } catch (error) {
    if (!hasNoLinks(error)) throw error
    await writeChecked(draft, await readFile(file, 'utf8'))
  }
  await rename(draft, backup)
  // rename(2) does nothing when both names already mean the same file.
  await rm(draft, { force: true })
}

/** Flushes the folder's entries to the disk, if the file system supports that. */
async function syncFolderOf(file: string): Promise<void> {
  const handle = await open(dirname(file), 'r')
  try {
    await handle.sync()
  } catch (error) {
    if (!['EINVAL', 'ENOTSUP', 'EOPNOTSUPP'].includes(errnoOf(error) ?? '')) throw error
  } finally {
    await handle.close()
  }
}

/**
 * Appends one line, which is on the disk when the promise is fulfilled. A line that a crash cut off is ended first, so
 * that it spoils no other line. A line that does not fit is removed again.
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
