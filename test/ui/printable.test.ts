import { describe, expect, it } from 'vitest'
import { displayWidth, printable, printableLines } from '../../src/ui/printable.js'

describe('printable', () => {
  it.each([
    ['colours', '\u001b[31mred\u001b[0m', 'red'],
    ['a cleared screen', 'a\u001b[2Jb', 'ab'],
    ['a new window title', 'a\u001b]0;owned\u0007b', 'ab'],
    ['a bell', 'a\u0007b', 'a\\x07b'],
    ['a line break', 'a\nb', 'a\\nb'],
    ['a carriage return', 'a\rb', 'a\\x0db'],
    ['a tab', 'a\tb', 'a b'],
    ['C1 controls', 'a\u0085b', 'a\\x85b'],
    ['a change of direction', 'a\u202eb\u2066c', 'a\\u202eb\\u2066c'],
    ['line separators', 'a\u2028b', 'a\\u2028b'],
  ])('makes %s harmless', (_, text, shown) => {
    expect(printable(text)).toBe(shown)
  })

  it('leaves the letters of languages alone', () => {
    expect(printable('Grüße, 世界 → ✓')).toBe('Grüße, 世界 → ✓')
  })
})

describe('printableLines', () => {
  it('divides lines, and shows the end of an overwritten line', () => {
    expect(printableLines('a\nb\r\n10 %\r50 %\r100 %\n')).toEqual(['a', 'b', '100 %'])
  })

  it('keeps empty lines in between', () => {
    expect(printableLines('a\n\nb')).toEqual(['a', '', 'b'])
  })
})

describe('displayWidth', () => {
  it.each([
    ['abc', 3],
    ['é', 1],
    ['e\u0301', 1],
    ['世界', 4],
    ['🚀', 2],
  ])('counts columns of %s', (text, width) => {
    expect(displayWidth(text)).toBe(width)
  })
})
