import { randomBytes } from 'node:crypto'
import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { failure, OpsError } from '../src/core/errors.js'
import { errnoOf, fsFailure } from '../src/core/file-failure.js'

const intact = '; what was there before is intact'

/** Names of our own temporary files; what a crash leaves of them may be swept by who holds the lock. */
export const temporaryName = /\.[0-9a-f]{12}\.tmp$/

export function temporary(file: string): string {
  return `${file}.${randomBytes(6).toString('hex')}.tmp`
}

/**
 * Replaces a file so that a crash or a full disk leaves either the old one or the new one, whole, and that
 * on return the new one is on the disk. With `backup`, the old one stays under that name.
 */
export function replaceDurably(file: string, text: string, backup?: string): void {
  const draft = temporary(file)
  try {
    writeChecked(draft, text)
    if (backup !== undefined) keepAs(file, backup)
    renameSync(draft, file)
    syncFolder(dirname(file))
  } catch (error) {
    rmSync(draft, { force: true })
    throw error instanceof OpsError ? error : fsFailure(error, 'write', file, intact)
  }
}

/** Read back before it counts: conf and write-file-atomic take a short write on a full disk for success. */
function writeChecked(file: string, text: string): void {
  const fd = openSync(file, 'wx', 0o600)
  try {
    writeFileSync(fd, text)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  if (readFileSync(file, 'utf8') === text) return
  throw failure('DISK_FULL', `cannot write ${file}: less arrived on the disk than was written${intact}`, {
    hint: `make room on the disk of ${file}, then give the same command again`,
  })
}

/** A second name for the file as it is: no bytes are copied, so a full disk cannot cut it short. */
function keepAs(file: string, backup: string): void {
  const draft = temporary(backup)
  try {
    linkSync(file, draft)
  } catch (error) {
    // Some file systems know no hard links (vfat, folders shared into a VM).
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK'].includes(errnoOf(error) ?? '')) throw error
    replaceDurably(backup, readFileSync(file, 'utf8'))
    return
  }
  renameSync(draft, backup)
}

/** After it, renames inside the folder survive a power cut. */
export function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/**
 * Appends one line, on the disk on return. A line that a crash cut off is ended first, so that it spoils
 * no other; a line that does not fit is taken back.
 */
export function appendLineDurably(file: string, line: string): void {
  try {
    const fd = openSync(file, 'a+', 0o600)
    try {
      appendWhole(fd, line)
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    throw fsFailure(error, 'write', file, intact)
  }
}

function appendWhole(fd: number, line: string): void {
  const { size } = fstatSync(fd)
  const last = Buffer.alloc(1)
  const torn = size > 0 && readSync(fd, last, 0, 1, size - 1) === 1 && last[0] !== 0x0a
  try {
    writeFileSync(fd, `${torn ? '\n' : ''}${line}\n`)
    fsyncSync(fd)
  } catch (error) {
    ftruncateSync(fd, size)
    throw error
  }
}
