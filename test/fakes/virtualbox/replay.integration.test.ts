import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Replayed, recordedTranscripts, replay } from './replay.js'
import { before, leftOut } from './replay-plan.js'

const root = mkdtempSync(join(tmpdir(), 'vbox-replay-'))
let replayed: Replayed[] = []

beforeAll(async () => {
  replayed = await replay(root)
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

describe('the stand-in VBoxManage', () => {
  const names = recordedTranscripts().map(({ name }) => name)

  it.each(names.filter((name) => !(name in leftOut)))('answers as the real program in %s', (name) => {
    const found = replayed.find(({ transcript }) => transcript.name === name)
    expect(found?.said).toBe(found?.expected)
    expect(found).toBeDefined()
  })

  it('replays all transcripts but those with a reason', () => {
    expect(Object.keys(leftOut).filter((name) => !names.includes(name))).toEqual([])
    expect(replayed.length).toBe(names.length - Object.keys(leftOut).length)
    expect(replayed.length).toBeGreaterThan(355)
  })

  it('uses every step between the transcripts', () => {
    const numbers = new Set(names.map((name) => name.slice(0, 3)))
    expect(Object.keys(before).filter((number) => !numbers.has(number))).toEqual([])
  })
})
