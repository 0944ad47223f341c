import { readFileSync } from 'node:fs'
import type { JournalEntry } from '../src/core/deployment.js'
import { errnoOf, fsFailure } from '../src/core/file-failure.js'
import { JournalLine } from './schema.js'

/** Reads every complete line, oldest first; a line that a crash cut off is left out. */
export function readJournal(file: string): JournalEntry[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw fsFailure(error, 'read', file)
  }
  return text.split('\n').flatMap((line) => {
    const entry = JournalLine.safeParse(parsed(line))
    return entry.success ? [entry.data] : []
  })
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}
