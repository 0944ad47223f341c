/** A piece of code in a document: a fenced block, or text between backquotes within a line. */
export interface Code {
  /** The nearest heading above the piece. */
  readonly heading: string
  /** The number of the first line, counted from 1. */
  readonly line: number
  readonly text: string
}

export interface CodeBlock extends Code {
  /** The first word after the fence; '' = none. */
  readonly language: string
  /** The other words after the fence. */
  readonly mark: string
}

/** Returns the fenced blocks of a document, in order. */
export function codeBlocks(markdown: string): CodeBlock[] {
  return parsed(markdown).blocks
}

/** Returns the text between backquotes outside fenced blocks. */
export function codeSpans(markdown: string): Code[] {
  return parsed(markdown).spans
}

export function headings(markdown: string): string[] {
  return parsed(markdown).headings
}

/** Returns GitHub's anchor of a heading. */
export function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-')
}

interface Parsed {
  readonly blocks: CodeBlock[]
  readonly spans: Code[]
  readonly headings: string[]
}

function parsed(markdown: string): Parsed {
  const found: Parsed = { blocks: [], spans: [], headings: [] }
  let heading = ''
  let open: (Omit<CodeBlock, 'heading' | 'text'> & { readonly lines: string[] }) | undefined
  markdown.split('\n').forEach((text, index) => {
    const fence = /^```\s*(\S*)\s*(.*?)\s*$/.exec(text)
    if (open !== undefined) {
      if (fence === null) open.lines.push(text)
      else {
        const { lines, ...block } = open
        found.blocks.push({ heading, ...block, text: lines.join('\n') })
        open = undefined
      }
    } else if (fence !== null) {
      open = { language: fence[1] ?? '', mark: fence[2] ?? '', line: index + 2, lines: [] }
    } else {
      const title = /^#+\s+(.*?)\s*$/.exec(text)?.[1]
      if (title !== undefined) {
        heading = title
        found.headings.push(title)
      }
      for (const [, span = ''] of text.matchAll(/`([^`]+)`/g))
        found.spans.push({ heading, line: index + 1, text: span })
    }
  })
  if (open !== undefined) throw new Error(`the block of line ${open.line} has no end`)
  return found
}
