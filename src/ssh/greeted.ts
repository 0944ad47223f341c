import type { Duplex } from 'node:stream'
import type { SshTarget } from '../core/ssh.js'

/** The time for which a greeted connection waits for its login, which directly follows the look at the host. */
const keptMs = 2_000
/** Maximum number of greeted connections at once. A report on many hosts needs no kept connection. */
const most = 16

interface Kept {
  readonly stream: Duplex
  forget(): void
}

/**
 * Connections whose sshd has shown its banner, for the logins that follow at once. An sshd starts a process for each
 * connection, so a second connection doubles that cost.
 */
export class GreetedConnections {
  readonly #kept = new Map<string, Kept>()

  /** Keeps a connection and the bytes that were read from it. The caller must no longer listen to the connection. */
  keep(target: SshTarget, stream: Duplex, read: Buffer): void {
    const place = placeOf(target)
    this.#drop(place)
    const [oldest] = this.#kept.keys()
    if (this.#kept.size >= most && oldest !== undefined) this.#drop(oldest)
    stream.pause()
    stream.unshift(read)
    const drop = () => this.#drop(place)
    stream.on('error', drop).on('close', drop)
    const timer = setTimeout(drop, keptMs)
    timer.unref()
    const forget = () => {
      clearTimeout(timer)
      stream.off('error', drop).off('close', drop)
      if (this.#kept.get(place)?.stream === stream) this.#kept.delete(place)
    }
    this.#kept.set(place, { stream, forget })
  }

  /** Returns the kept connection for a login, if one is still usable. */
  take(target: SshTarget): Duplex | undefined {
    const kept = this.#kept.get(placeOf(target))
    kept?.forget()
    return kept?.stream.destroyed === false && kept.stream.readable ? kept.stream : undefined
  }

  #drop(place: string): void {
    const kept = this.#kept.get(place)
    if (kept === undefined) return
    kept.forget()
    // The connection may break while it ends, and an error without a listener would end the process.
    kept.stream.on('error', () => {})
    kept.stream.destroy()
  }
}

function placeOf({ host, port }: SshTarget): string {
  return `${host} ${port}`
}
