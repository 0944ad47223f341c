import type { Client } from 'ssh2'
import { throwIfAborted } from '../core/errors.js'
import { pause } from '../core/pause.js'
import type { ConnectOptions, HostKeySeen, SshTarget } from '../core/ssh.js'
import { type Attempt, type AttemptFailed, attempt, type Keepalive } from './attempt.js'
import { connectError, isCutShort, mayPass } from './connect-errors.js'
import {
  algorithmsOf,
  allAlgorithms,
  type HostKeyAlgorithm,
  hostKeyChanged,
  hostKeyUnknown,
  parseHostKey,
  seenKey,
} from './host-key.js'
import type { WayOptions } from './jump.js'
import { type Login, nothingToOffer, planLogin } from './login.js'

/** The first pause before a retry when sshd drops connections; later pauses double up to the second value. */
const firstPauseMs = 200
const longestPauseMs = 3_000

export interface ConnectTools extends Omit<WayOptions, 'signal' | 'newConnection'> {
  readonly keepalive: Keepalive
}

/** A logged-in client, and the key that its server proved to have. */
export interface LoggedIn {
  readonly client: Client
  readonly hostKey: string
}

/** Connects, verifies the host key against the pinned key, and logs in. */
export async function logIn(
  target: SshTarget,
  options: ConnectOptions,
  tools: ConnectTools,
): Promise<LoggedIn> {
  const login = await planLogin(target, tools.env)
  if (login.methods.length === 0) throw await nothingToOffer(target, login)
  const dialler = new Dialler(target, login, options, tools)
  const hostKey = target.hostKey ?? (await firstContact(target, dialler, options))
  const pinned = parseHostKey(hostKey, target.machine)
  const result = await dialler.dial(algorithmsOf(pinned), (key) => key.equals(pinned.blob))
  if (result.kind === 'ready') return { client: result.client, hostKey: seenKey(pinned.blob).key }
  if (result.kind === 'key refused') throw hostKeyChanged(target, pinned, seenKey(result.key))
  // The server has no key of the pinned type any more. The error shows its current key.
  if (/no matching host key format/.test(result.message)) {
    throw hostKeyChanged(target, pinned, await dialler.look())
  }
  throw await dialler.error(result)
}

/** Tells whether the server shows the pinned key, or any key if none is pinned. No login takes place. */
export async function showsKey(
  target: SshTarget,
  options: Pick<ConnectOptions, 'signal' | 'timeoutMs'>,
  tools: ConnectTools,
): Promise<boolean> {
  const pinned = target.hostKey === undefined ? undefined : parseHostKey(target.hostKey, target.machine)
  const dialler = new Dialler(target, await planLogin(target, tools.env), options, tools)
  let shown = false
  await dialler.dial(pinned === undefined ? allAlgorithms : algorithmsOf(pinned), (key) => {
    shown = pinned === undefined || key.equals(pinned.blob)
    return false
  })
  return shown
}

/** Reads the key over a separate connection, because a person may answer later than a server's login deadline. */
async function firstContact(target: SshTarget, dialler: Dialler, options: ConnectOptions): Promise<string> {
  const seen = await dialler.look()
  const accepted = await options.acceptHostKey?.(seen)
  throwIfAborted(options.signal)
  if (accepted !== true) throw hostKeyUnknown(target, seen)
  dialler.restartClock()
  return seen.key
}

/** A dialler that retries a connection until the deadline, as long as the failures are temporary. */
class Dialler {
  #deadline: number
  readonly #target: SshTarget
  readonly #login: Login
  readonly #options: ConnectOptions
  readonly #tools: ConnectTools

  constructor(target: SshTarget, login: Login, options: ConnectOptions, tools: ConnectTools) {
    this.#target = target
    this.#login = login
    this.#options = options
    this.#tools = tools
    this.#deadline = Date.now() + options.timeoutMs
  }

  restartClock(): void {
    this.#deadline = Date.now() + this.#options.timeoutMs
  }

  error(failed: AttemptFailed): Promise<Error> {
    return connectError(this.#target, this.#login, failed, this.#options.timeoutMs)
  }

  /** Opens a connection only to read the host key. */
  async look(): Promise<HostKeySeen> {
    const result = await this.dial(allAlgorithms, () => false)
    if (result.kind === 'key refused') return seenKey(result.key)
    if (result.kind === 'ready') result.client.destroy()
    throw await this.error(result.kind === 'failed' ? result : neverReady)
  }

  async dial(algorithms: readonly HostKeyAlgorithm[], verify: (key: Buffer) => boolean): Promise<Attempt> {
    let dropped: AttemptFailed | undefined
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      const result = await attempt(this.#target, {
        ...this.#tools,
        signal: this.#options.signal,
        newConnection: this.#options.newConnection,
        algorithms,
        verify,
        login: this.#login,
        timeoutMs: Math.max(1, this.#deadline - Date.now()),
      })
      if (result.kind !== 'failed') return result
      // An attempt that the deadline cut short says less than the attempt before it.
      if (!mayPass(result)) return dropped !== undefined && isCutShort(result) ? dropped : result
      dropped = result
      // The random spread keeps fifty dropped clients from returning at the same moment.
      const wait = pauseMs * (0.5 + Math.random())
      if (Date.now() + wait >= this.#deadline) return result
      await pause(wait, this.#options.signal)
    }
  }
}

const neverReady: AttemptFailed = {
  kind: 'failed',
  phase: 'handshake',
  code: undefined,
  message: 'the host key was never shown',
  said: '',
  timedOut: false,
}
