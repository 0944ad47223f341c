import { rmSync } from 'node:fs'
import { errnoOf } from '../../../src/core/file-failure.js'

/** The longest wait for the other process, on a busy host. */
const patienceMs = 60_000
const pauseMs = 50

/**
 * Removes a folder to which an ending process may still write. Node's `maxRetries` repeats only the removal of the
 * folder, not the removal of files that were added meanwhile.
 */
export function removeBusyFolder(folder: string): void {
  for (const end = Date.now() + patienceMs; ; ) {
    try {
      rmSync(folder, { recursive: true, force: true })
      return
    } catch (error) {
      if (Date.now() > end || errnoOf(error) !== 'ENOTEMPTY') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pauseMs)
    }
  }
}
