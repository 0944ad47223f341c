import { rmSync } from 'node:fs'
import { errnoOf } from '../../../src/core/file-failure.js'

const attempts = 40
const pauseMs = 50

/**
 * Removes a folder in which a process that ends may still write. Node's own `maxRetries` repeats only the removal of the
 * folder itself, and never that of a file that came meanwhile.
 */
export function removeBusyFolder(folder: string): void {
  for (let attempt = 1; ; attempt += 1) {
    try {
      rmSync(folder, { recursive: true, force: true })
      return
    } catch (error) {
      if (attempt === attempts || errnoOf(error) !== 'ENOTEMPTY') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pauseMs)
    }
  }
}
