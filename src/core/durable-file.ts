import { randomBytes } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { failure, OpsError } from './errors.js'
import { errnoOf, fsFailure } from './file-failure.js'

export const intact = '; what was there before is intact'

/** The names of our temporary files; the lock's holder may sweep the leftovers of a crash. */
export const temporaryName = /\.[0-9a-f]{12}\.tmp$/

export function temporary(file: string): string {
  return `${file}.${randomBytes(6).toString('hex')}.tmp`
}

type Content = string | Uint8Array

/**
 * Replaces a file. A crash or a full disk leaves either the old or the new file, whole. The new file is on the disk on
 * return.
 */
export function replaceDurably(file: string, content: Content, { mode = 0o600 } = {}): void {
  const draft = temporary(file)
  try {
    writeChecked(draft, content, mode, intact)
    renameSync(draft, file)
    syncFolder(dirname(file))
  } catch (error) {
    rmSync(draft, { force: true })
    throw error instanceof OpsError ? error : fsFailure(error, 'write', file, intact)
  }
}

/**
 * Makes a new file, whole or not at all; a crash may leave a part if the file system lacks hard links. An existing file
 * stays, and the error is node's own `EEXIST`.
 */
export function createDurably(file: string, content: Content, mode = 0o600): void {
  const draft = temporary(file)
  try {
    writeChecked(draft, content, mode)
    try {
      linkSync(draft, file)
    } catch (error) {
      if (!hasNoLinks(error)) throw error
      writeNew(file, content, mode)
    }
    syncFolder(dirname(file))
  } catch (error) {
    if (error instanceof OpsError || errnoOf(error) === 'EEXIST') throw error
    throw fsFailure(error, 'write', file)
  } finally {
    rmSync(draft, { force: true })
  }
}

/** Writes a new file under its own name and removes the leftovers of a full disk. An existing file stays. */
function writeNew(file: string, content: Content, mode: number): void {
  try {
    writeChecked(file, content, mode)
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') rmSync(file, { force: true })
    throw error
  }
}

/** Renames another program's file after its content is on the disk. */
export function renameDurably(draft: string, file: string): void {
  syncFile(draft)
  renameSync(draft, file)
  syncFolder(dirname(file))
}

/** Makes a folder, with its parents, for its owner alone; all of them are on the disk on return. */
export function makeFolderDurably(folder: string, mode = 0o700): void {
  try {
    const first = mkdirSync(folder, { recursive: true, mode })
    if (first === undefined) return
    for (let made = folder; made.length >= first.length; made = dirname(made)) syncFolder(dirname(made))
  } catch (error) {
    throw fsFailure(error, 'make the folder', folder)
  }
}

/**
 * Writes a file and reads it again: on a full disk conf and write-file-atomic report success for a short write.
 */
function writeChecked(file: string, content: Content, mode: number, rest = ''): void {
  const fd = openSync(file, 'wx', mode)
  try {
    writeFileSync(fd, content)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  if (!readFileSync(file).equals(Buffer.from(content))) throw shortWrite(file, rest)
}

/** Makes the error for a file that a full disk truncated silently. */
export function shortWrite(file: string, rest: string): OpsError {
  return failure('DISK_FULL', `cannot write ${file}: less arrived on the disk than was written${rest}`, {
    hint: `make room on the disk of ${file}, then give the same command again`,
  })
}

/** Tells whether a file system lacks hard links (vfat, folders shared into a VM). */
export function hasNoLinks(error: unknown): boolean {
  return ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK'].includes(errnoOf(error) ?? '')
}

/** Flushes a file's content to the disk. */
export function syncFile(file: string): void {
  const fd = openSync(file, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/**
 * Flushes a folder's entries to the disk, so that renames inside survive a power cut. File systems of other hosts
 * (vboxsf, CIFS) do not support this.
 */
export function syncFolder(folder: string): void {
  try {
    syncFile(folder)
  } catch (error) {
    if (!['EINVAL', 'ENOTSUP', 'EOPNOTSUPP'].includes(errnoOf(error) ?? '')) throw error
  }
}
