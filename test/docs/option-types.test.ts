import { describe, expect, it } from 'vitest'
import { generatedDocuments } from '../../scripts/options/document.js'
import { readDocument } from './documents.js'

/** The types and defaults in the tables of options, one for each row. */
const types = generatedDocuments
  .map(readDocument)
  .join('\n')
  .split('\n')
  .flatMap((line) => /^\| `[^|]+` \| ([^|]*) \|/.exec(line)?.[1] ?? [])

describe('the types in the documents of options', () => {
  it('are complete: none ends in "or"', () => {
    expect(types.length).toBeGreaterThan(60)
    expect(types.filter((type) => /(^|\s)or\s*(;|$)/.test(type) || type.trim() === '')).toEqual([])
  })
})
