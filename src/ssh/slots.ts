import { throwIfInterrupted } from '../core/errors.js'

/**
 * At most so many at once. sshd allows ten sessions per connection (MaxSessions); a hardened one fewer, which shows
 * only when a channel is refused: then `shrink`.
 */
export class Slots {
  #limit: number
  #taken = 0
  readonly #waiting: (() => void)[] = []

  constructor(limit: number) {
    this.#limit = limit
  }

  get taken(): number {
    return this.#taken
  }

  async take(signal: AbortSignal): Promise<void> {
    throwIfInterrupted(signal)
    while (this.#taken >= this.#limit) await this.#wait(signal)
    this.#taken++
  }

  release(): void {
    this.#taken--
    this.#wake()
  }

  /** From now on only as many as there are besides the caller's, who gives back its own. */
  shrink(): void {
    this.#limit = Math.max(1, this.#taken - 1)
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const wake = () => {
        signal.removeEventListener('abort', cancel)
        resolve()
      }
      const cancel = () => {
        this.#waiting.splice(this.#waiting.indexOf(wake), 1)
        try {
          throwIfInterrupted(signal)
        } catch (error) {
          reject(error)
        }
      }
      this.#waiting.push(wake)
      signal.addEventListener('abort', cancel, { once: true })
    })
  }
}
