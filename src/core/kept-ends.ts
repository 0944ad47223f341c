/** Number of bytes that are kept from a side output: the beginning, and a larger part of the end. */
const usual = { head: 64 * 1024, tail: 1024 * 1024 }

/** The beginning and the end of an output of unlimited length. */
export class KeptEnds {
  readonly #most: { readonly head: number; readonly tail: number }
  readonly #head: Buffer[] = []
  #headBytes = 0
  #tail: Buffer[] = []
  #tailBytes = 0
  #leftOut = 0

  constructor(most = usual) {
    this.#most = most
  }

  push(chunk: Buffer): void {
    const forHead = chunk.subarray(0, this.#most.head - this.#headBytes)
    if (forHead.length > 0) {
      this.#head.push(forHead)
      this.#headBytes += forHead.length
    }
    const rest = chunk.subarray(forHead.length)
    if (rest.length === 0) return
    this.#tail.push(rest)
    this.#tailBytes += rest.length
    // Trimming at each chunk would copy the whole end again and again.
    if (this.#tailBytes > 2 * this.#most.tail) this.#trim()
  }

  text(): string {
    this.#trim()
    const head = Buffer.concat(this.#head).toString('utf8')
    const tail = Buffer.concat(this.#tail).toString('utf8')
    return this.#leftOut === 0
      ? whole(this.#head, this.#tail)
      : `${head}\n… ${this.#leftOut} bytes left out …\n${tail}`
  }

  #trim(): void {
    const over = this.#tailBytes - this.#most.tail
    if (over <= 0) return
    // A slice of a chunk would keep the whole chunk in memory, so the end is copied.
    this.#tail = [Buffer.from(Buffer.concat(this.#tail).subarray(over))]
    this.#tailBytes = this.#most.tail
    this.#leftOut += over
  }
}

/** Joins the bytes before decoding them, because a character may be split between both parts. */
function whole(head: readonly Buffer[], tail: readonly Buffer[]): string {
  return Buffer.concat([...head, ...tail]).toString('utf8')
}
