import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { makeFolderDurably, replaceFile } from './durable-file.js'

/**
 * Writes a file for the system's ssh, if the content differs. The file is complete at every moment, because another
 * session may be reading it.
 */
export async function writeIfChanged(file: string, text: string): Promise<void> {
  if ((await contentOf(file)) === text) return
  await makeFolderDurably(dirname(file))
  await replaceFile(file, text)
}

async function contentOf(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch {
    // A missing file is not a problem, and the write reports an unreadable file.
    return undefined
  }
}
