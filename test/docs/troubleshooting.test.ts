import { describe, expect, it } from 'vitest'
import { shippedFolders, sourceFiles } from '../architecture/source-files.js'
import { readDocument } from './documents.js'
import { mayPrint, whatItSays } from './messages.js'

const said = sourceFiles(shippedFolders, ['.ts', '.nix', '.pl', '.sh'])
  .map(({ text }) => whatItSays(text))
  .join('\n')

/**
 * Returns the messages in a document: code in headings, and in the first column of the tables of hydra-ops's messages.
 */
function messages(path: string): string[] {
  const found: string[] = []
  let ours = false
  for (const line of readDocument(path).split('\n')) {
    if (!line.startsWith('|')) ours = false
    if (line.startsWith('| message of hydra-ops ')) ours = true
    const text = /^###/.test(line) ? line : ours ? (line.split('|')[1] ?? '') : ''
    found.push(...[...text.matchAll(/`([^`]+)`/g)].map(([, message = '']) => message))
  }
  return found
}

const troubles = 'docs/troubleshooting.md'
const pages = ['libvirt', 'virtualbox', 'ssh', 'writing'].map((name) => `docs/providers/${name}.md`)

describe('the lists of errors', () => {
  it('are long', () => {
    expect(messages(troubles).length).toBeGreaterThan(60)
    for (const path of pages) expect(messages(path).length, path).toBeGreaterThan(4)
  })

  it.each([troubles, ...pages].flatMap((path) => messages(path).map((message) => [path, message])))(
    'in %s have the existing message: %s',
    (_, message) => {
      expect(mayPrint(said, message)).toBe(true)
    },
  )

  it.each([
    'the database of Hydra has left the building',
    'port … belongs to nginx alone',
    'was there, and is gome',
    'does not get in the database … as …',
  ])('would fail with the invented message: %s', (message) => {
    expect(mayPrint(said, message)).toBe(false)
  })
})
