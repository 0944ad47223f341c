import fc from 'fast-check'
import { afterAll, expect, it } from 'vitest'
import { nixString } from '../../src/core/nix-string.js'
import { ScratchNix } from '../fakes/scratch-nix.js'

const nix = new ScratchNix()
afterAll(() => nix.dispose())

/**
 * Sequences of characters that are special in Nix strings, and arbitrary other text. Nix strings cannot
 * contain NUL.
 */
const text = fc.oneof(
  fc
    .array(fc.constantFrom('$', '{', '}', '"', '\\', '\n', '\r', '\t', "''", '#', ' ', 'a'), {
      maxLength: 12,
    })
    .map((parts) => parts.join('')),
  fc.string({ unit: 'grapheme' }).map((any) => any.replaceAll('\0', '')),
)

it('every text is read back unchanged by Nix', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(text, { minLength: 50, maxLength: 100 }), async (texts) => {
      const list = `[ ${texts.map(nixString).join(' ')} ]`
      const json = await nix.nix('nix-instantiate', ['--eval', '--strict', '--json', '-'], list)
      expect(JSON.parse(json)).toEqual(texts)
    }),
    { numRuns: 8 },
  )
})
