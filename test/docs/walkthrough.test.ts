import { describe, expect, it } from 'vitest'
import { anchorOf, codeBlocks, codeSpans } from './markdown.js'
import { missingLine, stepsOf } from './walkthrough.js'

const document = `# A page

Say \`hello\`, or:

\`\`\`sh
echo one
echo two   three
\`\`\`

\`\`\`text
one
two … three
\`\`\`

## Not run

\`\`\`console
rm -rf /
\`\`\`

\`\`\`sh stand-in
true
\`\`\`
`

describe('a document', () => {
  it('has blocks with their language and place, and spans outside the blocks', () => {
    expect(codeBlocks(document).map(({ heading, language, line }) => [heading, language, line])).toEqual([
      ['A page', 'sh', 6],
      ['A page', 'text', 11],
      ['Not run', 'console', 18],
      ['Not run', 'sh', 22],
    ])
    expect(codeSpans(document)).toEqual([{ heading: 'A page', line: 3, text: 'hello' }])
  })

  it('is refused with a block that does not end', () => {
    expect(() => codeBlocks('```sh\nx\n')).toThrow('the block of line 2 has no end')
  })

  it('has headings with the anchors of GitHub', () => {
    expect(anchorOf('`hydra-proof`: the proof, at last')).toBe('hydra-proof-the-proof-at-last')
  })
})

describe('a walkthrough', () => {
  it('consists of its blocks marked sh, with their output', () => {
    expect(stepsOf(document)).toEqual([
      {
        heading: 'A page',
        line: 6,
        mark: '',
        commands: 'echo one\necho two   three',
        prints: [['one'], ['two', 'three']],
      },
      { heading: 'Not run', line: 22, mark: 'stand-in', commands: 'true', prints: [] },
    ])
  })

  it.each<[string, string, string | undefined]>([
    ['all of it', 'one\ntwo and three\n', undefined],
    ['more than that', 'zero\n  one  \nmore\nI have two: three!\n', undefined],
    ['a line less', 'one\n', 'two … three'],
    ['its parts in another order', 'one\nthree two\n', 'two … three'],
    ['its lines in another order', 'two three\none\n', 'two … three'],
    ['nothing', '', 'one'],
  ])('reports the missing line in an output with %s', (_, output, missing) => {
    expect(missingLine([['one'], ['two', 'three']], output)).toBe(missing)
  })

  it('ignores the width of columns', () => {
    expect(missingLine([['a b']], '|  a     b  |')).toBeUndefined()
  })
})
