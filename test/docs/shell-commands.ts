/**
 * Splits a shell script into simple commands, each as its words; `…` stands for the result of a substitution. The
 * parser supports the syntax of the documents: quotes, pipes, lists, substitutions, comments, redirections and
 * here-documents.
 */
export function commandsIn(script: string): string[][] {
  const reader = new Reader(script)
  reader.readUntil('')
  return reader.commands.map(withoutKeywords).filter((words) => words.length > 0)
}

/** Keywords that can stand before a command. */
const keywords = new Set(['!', '{', '}', 'do', 'done', 'elif', 'else', 'fi', 'if', 'then', 'until', 'while'])

function withoutKeywords(words: readonly string[]): string[] {
  const first = words.findIndex((word) => !keywords.has(word) && !/^\w+=/.test(word))
  return first < 0 ? [] : words.slice(first)
}

class Reader {
  readonly commands: string[][] = []
  private readonly text: string
  private at = 0
  private words: string[] = []
  private word: string | undefined
  /** The kind of the next word: the target of a redirection, or the end of a here-document. */
  private redirection: 'file' | 'here' | undefined
  private readonly ends: string[] = []

  constructor(text: string) {
    this.text = text
  }

  /** Reads to the end, or to a closing parenthesis. */
  readUntil(end: '' | ')'): void {
    while (this.at < this.text.length) {
      const char = this.text[this.at] ?? ''
      this.at += 1
      if (char === end) break
      this.read(char)
    }
    this.endCommand()
  }

  private read(char: string): void {
    if (char === '\\') this.escaped()
    else if (char === "'") this.add(this.quoted())
    else if (char === '"') this.doubleQuoted()
    else if (char === '$' && this.text[this.at] === '(') this.substitution()
    else if (char === ' ' || char === '\t') this.endWord()
    else if (char === '\n') this.endLine()
    else if (char === '#' && this.word === undefined) this.comment()
    else if (char === '<' || char === '>') this.redirect(char)
    else if (char === '&' && this.redirection !== undefined && this.word === undefined) this.add(char)
    else if (/[;|&()]/.test(char)) this.endCommand()
    else this.add(char)
  }

  private add(text: string): void {
    this.word = (this.word ?? '') + text
  }

  private escaped(): void {
    const next = this.text[this.at] ?? ''
    this.at += 1
    if (next !== '\n') this.add(next)
  }

  private quoted(): string {
    const end = this.text.indexOf("'", this.at)
    if (end < 0) throw new Error(`a quote has no end: ${this.text}`)
    const text = this.text.slice(this.at, end)
    this.at = end + 1
    return text
  }

  private doubleQuoted(): void {
    this.add('')
    for (;;) {
      const char = this.text[this.at]
      if (char === undefined) throw new Error(`a quote has no end: ${this.text}`)
      this.at += 1
      if (char === '"') return
      if (char === '\\') this.escaped()
      else if (char === '$' && this.text[this.at] === '(') this.substitution()
      else this.add(char)
    }
  }

  private substitution(): void {
    const inner = new Reader(this.text)
    inner.at = this.at + 1
    inner.readUntil(')')
    this.at = inner.at
    this.commands.push(...inner.commands)
    this.add('…')
  }

  private comment(): void {
    const end = this.text.indexOf('\n', this.at)
    this.at = end < 0 ? this.text.length : end
  }

  private redirect(char: string): void {
    // The digit in `2>` names the redirected output.
    if (this.word !== undefined && /^\d$/.test(this.word)) this.word = undefined
    this.endWord()
    const here = char === '<' && this.text[this.at] === '<'
    if (here || this.text[this.at] === '>') this.at += 1
    this.redirection = here ? 'here' : 'file'
  }

  private endWord(): void {
    if (this.word === undefined) return
    if (this.redirection === 'here') this.ends.push(this.word)
    else if (this.redirection === undefined) this.words.push(this.word)
    this.redirection = undefined
    this.word = undefined
  }

  private endCommand(): void {
    this.endWord()
    if (this.words.length > 0) this.commands.push(this.words)
    this.words = []
  }

  private endLine(): void {
    this.endCommand()
    for (const end of this.ends.splice(0)) {
      const rest = this.text.slice(this.at)
      const closing = new RegExp(`^${end}$`, 'm').exec(rest)
      if (closing === null) throw new Error(`the here-document has no line ${end}`)
      this.at += closing.index + end.length
    }
  }
}
