import { randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { OpsError, usageError } from '../../core/errors.js'
import { errnoOf, fsFailure } from '../../core/file-failure.js'

/** Refuses a place where something is, or where nothing can be. `shown` is the place as the user wrote it. */
export function refuseExisting(file: string, shown: string): void {
  if (lstatSync(file, { throwIfNoEntry: false }) !== undefined) {
    const folder = statSync(file, { throwIfNoEntry: false })?.isDirectory() === true
    throw usageError(folder ? `${shown} is a folder` : `${shown} exists, and is not overwritten`, {
      hint: folder ? 'name a file in it' : 'name another file, or move this one out of the way',
    })
  }
  if (!existsSync(dirname(file)))
    throw usageError(`cannot write ${shown}: its folder does not exist`, {
      hint: `make it first: mkdir -p ${dirname(file)}`,
    })
}

/**
 * Makes a file that was not there, whole or not at all: it is complete before it gets its name, and a name that
 * somebody else took meanwhile stays theirs.
 */
export function writeNewFile(file: string, shown: string, text: string): void {
  refuseExisting(file, shown)
  const draft = `${file}.${randomBytes(6).toString('hex')}.tmp`
  try {
    writeDurably(draft, text)
    try {
      linkSync(draft, file)
    } catch (error) {
      // Some file systems know no hard links (vfat, folders shared into a VM).
      if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK'].includes(errnoOf(error) ?? '')) throw error
      writeDurably(file, text)
    }
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') refuseExisting(file, shown)
    throw error instanceof OpsError ? error : fsFailure(error, 'write', file)
  } finally {
    rmSync(draft, { force: true })
  }
}

function writeDurably(file: string, text: string): void {
  const fd = openSync(file, 'wx', 0o644)
  try {
    writeFileSync(fd, text)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
