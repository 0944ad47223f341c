import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { failure, messageOf } from '../core/errors.js'

/**
 * Writes a file that follows from the state, for the system's ssh. Whole or not at all: another session may be
 * reading the one that is there.
 */
export function writeIfChanged(file: string, text: string): void {
  if (contentOf(file) === text) return
  const temporary = `${file}.${process.pid}.tmp`
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    writeFileSync(temporary, text, { mode: 0o600 })
    renameSync(temporary, file)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw failure(isFull(error) ? 'DISK_FULL' : 'STATE_FILE', `cannot write ${file}: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

function contentOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    // Not there, or not readable: writing it tells.
    return undefined
  }
}

function isFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT')
}
