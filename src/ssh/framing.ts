import { randomBytes } from 'node:crypto'
import { loginLine, type Nonce } from './command-line.js'

/** Maximum number of bytes of a login shell's output that are kept for errors. */
const keptNoise = 4096

export function newNonce(): Nonce {
  const text = randomBytes(16).toString('hex')
  return { left: text.slice(0, 16), right: text.slice(16) }
}

/**
 * A parser of a stream `noise NONCE{info\n output NONCE}status\n noise`, however the stream is split into chunks. The
 * output is exact to the byte; the text of a login shell or of its exit trap is kept apart.
 */
export class FrameParser {
  #state: 'before' | 'inside' | 'after' = 'before'
  #held: Buffer = Buffer.alloc(0)
  #noise: Buffer = Buffer.alloc(0)
  #noiseBytes = 0
  #info: string | undefined
  #status: number | undefined
  #loginWorked = false
  readonly #nonce: Buffer
  readonly #loginLine: string
  readonly #onOutput: (bytes: Buffer) => void

  constructor(nonce: Nonce, onOutput: (bytes: Buffer) => void) {
    this.#nonce = Buffer.from(nonce.left + nonce.right)
    this.#loginLine = loginLine(nonce)
    this.#onOutput = onOutput
  }

  /** The text in the opening mark, once the mark has been seen. */
  get info(): string | undefined {
    return this.#info
  }

  /** The status in the closing mark, once the mark has been seen. */
  get status(): number | undefined {
    return this.#status
  }

  get noiseBytes(): number {
    return this.#noiseBytes
  }

  /** The last text outside the frame, without the login mark. */
  get noise(): string {
    return this.#noise.toString('utf8').replace(this.#loginLine, '')
  }

  /** Whether the login mark was seen, which shows that the login shell works. */
  get loginWorked(): boolean {
    return this.#loginWorked
  }

  push(chunk: Buffer): void {
    let rest = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    this.#held = Buffer.alloc(0)
    while (rest.length > 0) {
      if (this.#state === 'after') {
        this.#drop(rest)
        return
      }
      const mark = this.#findMark(rest)
      this.#pass(rest.subarray(0, mark.at))
      if (mark.end === undefined) {
        this.#held = rest.subarray(mark.at)
        return
      }
      this.#enter(rest.subarray(mark.at + this.#nonce.length + 1, mark.end).toString('utf8'))
      rest = rest.subarray(mark.end + 1)
    }
  }

  /** Ends the stream, and passes on the bytes that were held back as a possible mark. */
  end(): void {
    this.#pass(this.#held)
    this.#held = Buffer.alloc(0)
  }

  /** Finds the beginning of the next mark and the end of its line; `end` is undefined for an incomplete mark. */
  #findMark(bytes: Buffer): { at: number; end: number | undefined } {
    const brace = this.#state === 'before' ? 0x7b : 0x7d
    let at = bytes.indexOf(this.#nonce)
    while (at !== -1) {
      const next = bytes[at + this.#nonce.length]
      if (next === undefined || next === brace) {
        const end = bytes.indexOf(0x0a, at + this.#nonce.length)
        return { at, end: end === -1 ? undefined : end }
      }
      at = bytes.indexOf(this.#nonce, at + 1)
    }
    return { at: bytes.length - this.#partialMark(bytes), end: undefined }
  }

  /** Returns the length of the longest end of `bytes` that may be the beginning of the nonce. */
  #partialMark(bytes: Buffer): number {
    for (let length = Math.min(bytes.length, this.#nonce.length - 1); length > 0; length--) {
      if (bytes.subarray(bytes.length - length).equals(this.#nonce.subarray(0, length))) return length
    }
    return 0
  }

  #enter(text: string): void {
    if (this.#state === 'before') {
      this.#state = 'inside'
      this.#info = text
    } else {
      this.#state = 'after'
      const status = Number.parseInt(text, 10)
      if (!Number.isNaN(status)) this.#status = status
    }
  }

  #pass(bytes: Buffer): void {
    if (bytes.length === 0) return
    if (this.#state === 'inside') this.#onOutput(bytes)
    else this.#drop(bytes)
  }

  #drop(bytes: Buffer): void {
    this.#noiseBytes += bytes.length
    const noise = Buffer.concat([this.#noise, bytes])
    this.#loginWorked ||= noise.includes(this.#loginLine)
    this.#noise = noise.subarray(-keptNoise)
  }
}
