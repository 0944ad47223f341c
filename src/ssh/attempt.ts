import ssh2, { type Client } from 'ssh2'
import { abortError, messageOf, throwIfAborted } from '../core/errors.js'
import { onAbort } from '../core/on-abort.js'
import type { SshTarget } from '../core/ssh.js'
import type { HostKeyAlgorithm } from './host-key.js'
import { type WayOptions, wayForLogin } from './jump.js'
import type { Login } from './login.js'

/** The progress of a connection, which decides the text of an error. */
export type Phase = 'dial' | 'banner' | 'handshake' | 'login'

export type Attempt =
  | { readonly kind: 'ready'; readonly client: Client }
  /** The verifier refused this key. */
  | { readonly kind: 'key refused'; readonly key: Buffer }
  | AttemptFailed

export interface AttemptFailed {
  readonly kind: 'failed'
  readonly phase: Phase
  /** Error code such as `ECONNREFUSED`, if the operating system gave a reason. */
  readonly code: string | undefined
  readonly message: string
  /** The proxy's output on stderr. */
  readonly said: string
  readonly timedOut: boolean
}

export interface Keepalive {
  readonly intervalMs: number
  readonly countMax: number
}

export interface AttemptOptions extends WayOptions {
  readonly algorithms: readonly HostKeyAlgorithm[]
  readonly login: Login
  readonly keepalive: Keepalive
  readonly timeoutMs: number
  verify(key: Buffer): boolean
}

/** Opens one connection and tries to log in. Only a cancellation throws; a failure is a result. */
export async function attempt(target: SshTarget, options: AttemptOptions): Promise<Attempt> {
  throwIfAborted(options.signal)
  const way = wayForLogin(target, options)
  const client = new ssh2.Client()
  let phase: Phase = 'dial'
  let refused: Buffer | undefined
  void way.connected.then(
    () => {
      phase = 'banner'
    },
    () => {},
  )
  return new Promise<Attempt>((resolve, reject) => {
    let settled = false
    const settle = (done: () => void) => {
      if (settled) return
      settled = true
      stopListening()
      done()
    }
    const giveUp = (result: Attempt) =>
      settle(() => {
        way.stream.destroy()
        resolve(result)
      })
    const failed = (error: unknown, timedOut = false) =>
      giveUp(
        refused === undefined
          ? {
              kind: 'failed',
              phase,
              code: codeOf(error),
              message: messageOf(error),
              said: way.said(),
              timedOut,
            }
          : { kind: 'key refused', key: refused },
      )
    const cancel = () =>
      settle(() => {
        way.stream.destroy()
        reject(abortError(options.signal, `connect to machine '${target.machine}'`))
      })
    const stopListening = onAbort(options.signal, cancel)
    client
      .on('handshake', () => {
        phase = 'login'
      })
      .once('ready', () => settle(() => resolve({ kind: 'ready', client })))
      .on('error', (error) => {
        if (isFinal(error)) failed(error, levelOf(error) === 'client-timeout')
      })
      .once('close', () => failed(new Error('the connection was closed')))
      .connect({
        sock: way.stream,
        username: target.user,
        readyTimeout: options.timeoutMs,
        keepaliveInterval: options.keepalive.intervalMs,
        keepaliveCountMax: options.keepalive.countMax,
        algorithms: { serverHostKey: [...options.algorithms] },
        authHandler: [...options.login.methods],
        hostVerifier: (key: Buffer) => {
          phase = 'handshake'
          if (options.verify(key)) return true
          refused = key
          return false
        },
      })
  })
}

/**
 * Tells whether an error ends the attempt. A key that cannot sign, or a silent agent, is not final: ssh2 then tries the
 * next method.
 */
function isFinal(error: unknown): boolean {
  const level = levelOf(error)
  if (level === 'agent') return false
  return level !== 'client-authentication' || /All configured authentication/.test(messageOf(error))
}

function levelOf(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'level' in error && typeof error.level === 'string'
    ? error.level
    : undefined
}

function codeOf(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined
}
