import { describe, expect, it } from 'vitest'
import { shippedFolders, sourceFiles } from '../architecture/source-files.js'
import { readDocument } from './documents.js'
import { mayPrint, whatItSays } from './messages.js'

const said = sourceFiles(shippedFolders, ['.ts', '.nix', '.pl', '.sh'])
  .map(({ text }) => whatItSays(text))
  .join('\n')

/** Returns the code in the first column of the tables of our own messages, and in headings. */
function messages(): string[] {
  const found: string[] = []
  let ours = false
  for (const line of readDocument('docs/troubleshooting.md').split('\n')) {
    if (!line.startsWith('|')) ours = false
    if (line.startsWith('| message of hydra-ops ')) ours = true
    const text = /^###/.test(line) ? line : ours ? (line.split('|')[1] ?? '') : ''
    found.push(...[...text.matchAll(/`([^`]+)`/g)].map(([, message = '']) => message))
  }
  return found
}

describe('the list of errors in troubleshooting.md', () => {
  it('is long', () => {
    expect(messages().length).toBeGreaterThan(60)
  })

  it.each(messages().map((message) => [message]))('has the existing message: %s', (message) => {
    expect(mayPrint(said, message)).toBe(true)
  })

  it.each([
    'the database of Hydra has left the building',
    'port … belongs to nginx alone',
    'was there, and is gome',
    'does not get in the database … as …',
  ])('would fail with the invented message: %s', (message) => {
    expect(mayPrint(said, message)).toBe(false)
  })
})
