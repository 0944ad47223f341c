import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { makeFolderDurably, replaceFile } from './durable-file.js'

/**
 * Writes a file for the system's ssh, which is derived from the state. The file is whole at every moment, because
 * another session may be reading it.
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
    // A missing file is no problem, and the write reports an unreadable one.
    return undefined
  }
}
