import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../src/core/package-root.js'
import { readDocument, userDocuments } from './documents.js'
import { anchorOf, headings } from './markdown.js'

describe.each(userDocuments().map(({ path, text }) => [path, text] as const))('%s', (path, text) => {
  it('links to existing places', () => {
    const broken = [...text.matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)].filter(
      ([, target = '', anchor]) => !leadsSomewhere(target === '' ? path : join(path, '..', target), anchor),
    )
    expect(broken.map(([link]) => link)).toEqual([])
  })
})

function leadsSomewhere(path: string, anchor: string | undefined): boolean {
  if (!existsSync(join(packageRoot(), path))) return false
  return anchor === undefined || headings(readDocument(path)).some((each) => anchorOf(each) === anchor)
}
