import { expect, it } from 'vitest'
import { nixString } from '../../src/core/nix-string.js'

it.each([
  ['plain', '"plain"'],
  ['say "hi"', '"say \\"hi\\""'],
  ['a\\b', '"a\\\\b"'],
  ['${x} $y', '"\\${x} $y"'],
  ['$${x}', '"$\\${x}"'],
  ['a\\n\n', '"a\\\\n\\n"'],
  ['a\r\tb', '"a\\r\\tb"'],
])('%j is written as a string of Nix', (text, literal) => {
  expect(nixString(text)).toBe(literal)
})
