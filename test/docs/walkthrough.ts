import { codeBlocks } from './markdown.js'

/** Commands of a document that are run as they stand, and what it says they print. */
export interface Step {
  readonly heading: string
  /** Of the document. */
  readonly line: number
  /** What else stands after the fence: why one may do without it. */
  readonly mark: string
  readonly commands: string
  /** Lines that the output has, in this order; each is what must occur in it, in order: `…` stands between. */
  readonly prints: readonly (readonly string[])[]
}

/** Its blocks marked `sh`, each with the block marked `text` that follows it. Others are not run. */
export function stepsOf(markdown: string): Step[] {
  const blocks = codeBlocks(markdown)
  return blocks.flatMap(({ heading, line, mark, language, text }, index) => {
    if (language !== 'sh') return []
    const next = blocks[index + 1]
    const printed = next?.language === 'text' ? next.text : ''
    const prints = printed
      .split('\n')
      .filter((each) => each.trim() !== '')
      .map((each) =>
        each
          .split('…')
          .map(squeezed)
          .filter((part) => part !== ''),
      )
    return [{ heading, line, mark, commands: text, prints }]
  })
}

/** The first of the wanted lines that the output does not have; undefined = it has all of them. */
export function missingLine(prints: Step['prints'], output: string): string | undefined {
  const lines = output.split('\n').map(squeezed)
  let from = 0
  for (const parts of prints) {
    const found = lines.findIndex((line, index) => index >= from && hasInOrder(line, parts))
    if (found < 0) return parts.join(' … ')
    from = found + 1
  }
  return undefined
}

function hasInOrder(line: string, parts: readonly string[]): boolean {
  let from = 0
  return parts.every((part) => {
    const found = line.indexOf(part, from)
    from = found + part.length
    return found >= 0
  })
}

/** Columns are as wide as what stands in them. */
function squeezed(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim()
}
