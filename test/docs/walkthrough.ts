import { codeBlocks } from './markdown.js'

/** Commands of a document that run unchanged, and the output that the document promises. */
export interface Step {
  readonly heading: string
  /** The line number in the document. */
  readonly line: number
  /** The words after the language on the fence's line, which mark a special step. */
  readonly mark: string
  readonly commands: string
  /** The expected lines of output, in order. Each line is a list of the texts between `…`. */
  readonly prints: readonly (readonly string[])[]
}

/** Returns the blocks marked `sh`, each with its following block marked `text`; other blocks do not run. */
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

/** Returns the first expected line that the output lacks; undefined = no line is missing. */
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

/** Removes the padding of columns, whose width depends on their content. */
function squeezed(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim()
}
