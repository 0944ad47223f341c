import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { makeFolderDurably, replaceDurably } from './durable-file.js'

/**
 * Writes a file that follows from the state, for the system's ssh. The file is whole at every moment: another session
 * may be reading it.
 */
export function writeIfChanged(file: string, text: string): void {
  if (contentOf(file) === text) return
  makeFolderDurably(dirname(file))
  replaceDurably(file, text)
}

function contentOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    // Not there, or not readable: writing it tells.
    return undefined
  }
}
