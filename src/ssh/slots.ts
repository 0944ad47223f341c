import { abortError, throwIfAborted } from '../core/errors.js'
import { onAbort } from '../core/on-abort.js'

/**
 * The limit of parallel commands. sshd allows ten sessions per connection (MaxSessions), and a hardened sshd may allow
 * fewer. A refused channel is the only sign of the lower limit; the caller then calls `shrink`.
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
    throwIfAborted(signal)
    while (this.#taken >= this.#limit) {
      await this.#wait(signal)
      throwIfAborted(signal)
    }
    this.#taken++
  }

  release(): void {
    this.#taken--
    this.#wake()
  }

  /** Lowers the limit to one less than the number of accepted sessions. The spare session serves to end a command. */
  shrink(): void {
    this.#limit = Math.max(1, this.#taken - 2)
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const stopListening = onAbort(signal, () => {
        this.#waiting.splice(this.#waiting.indexOf(wake), 1)
        reject(abortError(signal, 'wait for a free channel'))
      })
      const wake = () => {
        stopListening()
        resolve()
      }
      this.#waiting.push(wake)
    })
  }
}
