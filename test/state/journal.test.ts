import { appendFileSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { JournalEntry } from '../../src/core/deployment.js'
import { appendLine } from '../../src/core/durable-file.js'
import { readJournal } from '../../state/journal.js'
import { temporaryFolder } from './temporary-store.js'

function entry(event: string, rest: Partial<JournalEntry> = {}): JournalEntry {
  return { at: '2026-11-21T10:15:00Z', user: 'alice', host: 'build1', command: 'x', run: 'r', event, ...rest }
}

const append = (file: string, each: JournalEntry) => appendLine(file, JSON.stringify(each))

describe('the journal', () => {
  it('returns the appended lines, in order', async () => {
    const file = join(temporaryFolder(), 'journal.ndjson')
    const entries = [
      entry('deploy.begin'),
      entry('machine.create', { machine: 'web', data: { a: [1, 'ä\n'] } }),
    ]
    for (const each of entries) await append(file, each)
    expect(readJournal(file)).toEqual(entries)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readFileSync(file, 'utf8').split('\n')).toHaveLength(3)
  })

  it('is empty when there is none', () => {
    expect(readJournal(join(temporaryFolder(), 'journal.ndjson'))).toEqual([])
  })

  it('leaves out a last line that a crash cut off, and the next line is whole', async () => {
    const file = join(temporaryFolder(), 'journal.ndjson')
    await append(file, entry('one'))
    const whole = JSON.stringify(entry('two'))
    for (let cut = 1; cut < whole.length; cut += 17) {
      const before = readFileSync(file, 'utf8')
      appendFileSync(file, whole.slice(0, cut))
      expect(readJournal(file).map(({ event }) => event)).toEqual(['one'])
      await append(file, entry('three'))
      expect(readJournal(file).map(({ event }) => event)).toEqual(['one', 'three'])
      writeFileSync(file, before)
    }
  })

  it('says in one sentence why it cannot be read or written', async () => {
    const folder = temporaryFolder()
    const told = expect.objectContaining({
      name: 'OpsError',
      exitCode: 1,
      message: expect.stringContaining(folder),
    })
    expect(() => readJournal(folder)).toThrow(told)
    await expect(append(folder, entry('one'))).rejects.toThrow(told)
    await expect(append(join(folder, 'gone', 'journal.ndjson'), entry('one'))).rejects.toThrow('no such file')
  })
})
