import type { Ops } from '../core/context.js'
import { type HttpAnswer, httpAnswer } from '../core/http-request.js'
import { connectFromOperator } from '../core/operator-connection.js'
import { sayingWhenSlow } from '../core/slow-wait.js'

/** Deadline for one answer; a Hydra with a busy database may need half a minute for a large page. */
const answerMs = 60_000

/** Time after which a wait for an answer is reported. */
export const quietMs = 5_000

/** Maximum size of an answer: more than the list of a large evaluation's builds, or a long log. */
const mostBytes = 64 * 1024 * 1024

/** Way to one Hydra, which sends requests and does not interpret the answers. */
export interface HydraWay {
  /** URL that users open, without a trailing slash. */
  readonly url: string
  request(method: string, path: string, body?: unknown): Promise<HttpAnswer>
}

/** Connects from the operator host to the URL that users open. Redirects are not followed. */
export function wayFromOperator(url: string, run: OperatorRun): HydraWay {
  const base = url.replace(/\/+$/, '')
  const send = senderFromOperator(base, run)
  return {
    url: base,
    request: (method, path, body) =>
      send({
        method,
        path,
        headers: requestHeaders(base, body),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
  }
}

export interface OperatorRun {
  readonly signal: AbortSignal
  /** Tells the user about a long wait. */
  log(line: string): void
  /** Deadline for one answer. */
  readonly timeoutMs?: number
  /** Time after which the wait is reported. */
  readonly quietMs?: number
}

/** Returns the bounds of requests for a run of hydra-ops, which tells the user about long waits. */
export function operatorRun({ signal, events }: Pick<Ops, 'signal' | 'events'>): OperatorRun {
  return { signal, log: (text) => events.emit({ kind: 'notice', text }) }
}

/** Describes a wait for an answer. */
export function waitingFor(url: string, path: string, timeoutMs: number): string {
  return `waiting for Hydra at ${url}, which has not answered ${path} yet (at most ${timeoutMs / 1_000} s)`
}

/** Returns the function that sends a request from the operator host. */
export function senderFromOperator(base: string, run: OperatorRun) {
  const { signal, timeoutMs = answerMs } = run
  const { hostname, port, protocol } = new URL(base)
  const host = hostname.replace(/^\[|\]$/g, '')
  const number = port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port)
  return ({ path, ...request }: SentRequest): Promise<HttpAnswer> => {
    const answer = httpAnswer({
      ...request,
      url: `${base}${path}`,
      checkCertificate: true,
      connect: (bounds) => connectFromOperator(host, number, bounds.signal),
      signal,
      timeoutMs,
      mostBytes,
    })
    const say = () => run.log(waitingFor(base, path, timeoutMs))
    return sayingWhenSlow(answer, run.quietMs ?? quietMs, say)
  }
}

/** One request of a session or of a plain reader. */
export interface SentRequest {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

/** Returns the headers of a request. Hydra accepts POST only if Origin is exactly its own URL (measured). */
export function requestHeaders(url: string, body: unknown): Record<string, string> {
  return {
    accept: 'application/json',
    origin: url,
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  }
}
