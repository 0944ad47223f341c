import { existsSync, lstatSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { createFile } from '../../core/durable-file.js'
import { usageError } from '../../core/errors.js'
import { errnoOf } from '../../core/file-failure.js'
import { shellQuote } from '../../core/shell-quote.js'

/** Refuses a path that exists or cannot exist. `shown` is the path as the user wrote it. */
export function refuseExisting(file: string, shown: string): void {
  if (lstatSync(file, { throwIfNoEntry: false }) !== undefined) {
    const folder = statSync(file, { throwIfNoEntry: false })?.isDirectory() === true
    throw usageError(folder ? `${shown} is a folder` : `${shown} already exists; it was not overwritten`, {
      hint: folder
        ? 'give the path of a file in this folder'
        : 'give the path of another file, or move the existing file',
    })
  }
  if (!existsSync(dirname(file)))
    throw usageError(`cannot write ${shown}: its folder does not exist`, {
      hint: `create the folder first: mkdir -p ${shellQuote(dirname(file))}`,
    })
}

/** Creates a new file atomically, and never replaces a file that another program created in the meantime. */
export async function writeNewFile(file: string, shown: string, text: string): Promise<void> {
  refuseExisting(file, shown)
  try {
    await createFile(file, text, 0o644)
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') refuseExisting(file, shown)
    throw error
  }
}
