/** One option of a call with its value, or one argument without a dash. */
export interface Given {
  readonly option: string | undefined
  readonly value: string
}

/**
 * The arguments of a call, read in order as in the real program. An option with a value is `--option=value` or two
 * words.
 */
export class Arguments {
  readonly #words: string[]
  #value: string | undefined

  constructor(words: readonly string[]) {
    this.#words = [...words]
  }

  /** Takes the next option or word. */
  next(): string | undefined {
    const word = this.#words.shift()
    const split = word?.startsWith('--') ? (word.match(/^(--[^=]+)=([\s\S]*)$/) ?? undefined) : undefined
    this.#value = split?.[2]
    return split?.[1] ?? word
  }

  /** Takes the value of the current option; undefined if no word is left. */
  value(): string | undefined {
    const value = this.#value ?? this.#words.shift()
    this.#value = undefined
    return value
  }

  /** Tells whether more words follow. */
  get more(): boolean {
    return this.#words.length > 0
  }

  rest(): string[] {
    return this.#words.splice(0)
  }
}
