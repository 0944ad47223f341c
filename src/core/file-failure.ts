import { failure, OpsError } from './errors.js'
import { shellQuote } from './shell-quote.js'

/** The meanings of errno names (`man errno`), as the end of a sentence. */
const meanings: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on the disk',
  EDQUOT: 'the disk quota is used up',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  EROFS: 'the file system is read-only',
  ENOENT: 'no such file or folder',
  EISDIR: 'the path is a folder',
  ENOTDIR: 'a part of the path is not a folder',
  EIO: 'the disk reports an input/output error',
  EMFILE: 'too many open files',
}

/** Returns the errno name (`ENOENT`, `ENOSPC` …) of an error from node:fs. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

/** Describes a failed file operation in one sentence: `cannot write X: no space left on the disk; …`. */
export function fsFailure(error: unknown, doing: string, file: string, rest = ''): OpsError {
  const errno = errnoOf(error)
  const why = (errno === undefined ? undefined : meanings[errno]) ?? errno ?? String(error)
  const full = errno === 'ENOSPC' || errno === 'EDQUOT'
  return failure(full ? 'DISK_FULL' : 'FILE', `cannot ${doing} ${file}: ${why}${rest}`, {
    cause: error,
    hint: hintFor(errno, file),
  })
}

/**
 * Turns an unforeseen failure of a file operation into a sentence; returns other errors unchanged. A full disk or
 * another user's file is not a bug in hydra-ops.
 */
export function withFileFailure(error: unknown): unknown {
  if (error instanceof OpsError) return error
  const errno = errnoOf(error)
  if (!(error instanceof Error) || errno === undefined || !Object.hasOwn(meanings, errno)) return error
  const path = 'path' in error && typeof error.path === 'string' ? error.path : undefined
  // Node's errors of write(2) on an open file name no path.
  if (path === undefined && errno !== 'ENOSPC' && errno !== 'EDQUOT') return error
  const call = 'syscall' in error && typeof error.syscall === 'string' ? error.syscall : 'use'
  return fsFailure(error, verbs[call] ?? call, path ?? 'a file')
}

const verbs: Readonly<Record<string, string>> = {
  open: 'open',
  scandir: 'read',
  mkdir: 'make',
  copyfile: 'copy',
}

function hintFor(errno: string | undefined, file: string): string {
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return `make room on the disk of ${file} (df -h), then run the same command again`
  }
  if (errno === 'EACCES' || errno === 'EPERM') {
    return `ls -ld ${shellQuote(file)} shows the owner; run hydra-ops as that user, or choose another folder with --state`
  }
  return `ls -ld ${shellQuote(file)} shows the file`
}
