import { failure, type OpsError } from '../src/core/errors.js'
import { shellQuote } from '../src/core/shell-quote.js'

/** What errno names mean, as the end of a sentence (`man errno`). */
const meanings: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on the disk',
  EDQUOT: 'the disk quota is used up',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  EROFS: 'the file system is read-only',
  ENOENT: 'no such file or folder',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of its path is not a folder',
  EIO: 'the disk reports an input/output error',
  EMFILE: 'too many open files',
}

/** `ENOENT`, `ENOSPC` … of something thrown by node:fs. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

/** A failed file operation as one sentence: `cannot write X: no space left on the disk; …`. */
export function fsFailure(error: unknown, doing: string, file: string, rest = ''): OpsError {
  const errno = errnoOf(error)
  const why = (errno === undefined ? undefined : meanings[errno]) ?? errno ?? String(error)
  const full = errno === 'ENOSPC' || errno === 'EDQUOT'
  return failure(full ? 'DISK_FULL' : 'STATE_FILE', `cannot ${doing} ${file}: ${why}${rest}`, {
    cause: error,
    hint: hintFor(errno, file),
  })
}

function hintFor(errno: string | undefined, file: string): string {
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return `make room on the disk of ${file}, then give the same command again`
  }
  if (errno === 'EACCES' || errno === 'EPERM') {
    return `see whose it is (ls -ld ${shellQuote(file)}): run hydra-ops as that user, or choose another state folder with --state`
  }
  return `look at it: ls -ld ${shellQuote(file)}`
}
