import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import * as z from 'zod'
import { type Bounds, withinDeadline } from './deadline.js'
import { throwIfAborted } from './errors.js'
import { onAbort } from './on-abort.js'

export interface HttpAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
  /** The body as raw bytes, because some bodies are not text. */
  readonly bytes: Uint8Array
}

/** Parses the body as JSON; returns undefined for a body that is not JSON. */
export function json({ body }: HttpAnswer): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

const Refusal = z.object({ error: z.string() })

/**
 * Describes a server's refusal, as the end of a sentence. Hydra mostly gives the reason in JSON, but some errors are
 * plain text or an HTML page. A redirect comes from a program other than Hydra.
 */
export function refusal(answer: HttpAnswer): string {
  const [location] = [answer.headers.location ?? []].flat()
  if (answer.status >= 300 && answer.status < 400 && location !== undefined)
    return `status ${answer.status}, a redirect to ${location.slice(0, 300)}`
  const parsed = Refusal.safeParse(json(answer))
  const [text = ''] = (parsed.success ? parsed.data.error : answer.body.trim()).split('\n')
  const said = /^</.test(text) ? '' : text.slice(0, 300)
  return said === '' ? `status ${answer.status}` : `status ${answer.status}, ${said}`
}

export interface HttpRequest {
  readonly url: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Whether the certificate must be trusted by this host and valid for the host name in the URL. */
  readonly checkCertificate: boolean
  /** Opens the connection, which ends when the bounds are exceeded. */
  connect(bounds: Bounds): Promise<Duplex>
  readonly signal: AbortSignal
  readonly timeoutMs: number
  /** The largest body that is read, in bytes. Default: 4 MiB, more than most pages need. */
  readonly mostBytes?: number
}

const usualMostBytes = 4 * 1024 * 1024

/** Sends one request over a connection that the caller opens. Redirects are not followed. */
export function httpAnswer(request: HttpRequest): Promise<HttpAnswer> {
  return exchange(request, async (response) => {
    const bytes = await wholeBody(response, request.mostBytes ?? usualMostBytes)
    return {
      status: statusOf(response),
      headers: response.headers,
      body: bytes.toString('utf8'),
      bytes,
    }
  })
}

/** Returns only the status, without reading the body. */
export function httpStatus(request: HttpRequest): Promise<number> {
  return exchange(request, async (response) => {
    response.on('error', () => {})
    return statusOf(response)
  })
}

function statusOf(response: IncomingMessage): number {
  return response.statusCode ?? 0
}

function exchange<T>(request: HttpRequest, read: (response: IncomingMessage) => Promise<T>): Promise<T> {
  const { timeoutMs } = request
  return withinDeadline(request.signal, timeoutMs, async ({ signal, expired }) => {
    try {
      const modules = await node()
      const raw = await request.connect({ signal, timeoutMs })
      // The code that reads from the connection reports why the connection broke.
      raw.on('error', () => {})
      const stopListening = onAbort(signal, () => {
        raw.destroy()
      })
      try {
        return await read(await responseTo(request, modules, raw, signal))
      } finally {
        stopListening()
        raw.destroy()
      }
    } catch (error) {
      // A deadline or a cancellation ends the connection, and the connection's own error would blame the peer.
      throwIfAborted(request.signal)
      throw expired() ? new Error(`no answer within ${timeoutMs / 1_000} s`) : error
    }
  })
}

/** Imports node's modules on demand, because every start loads this file but few starts use HTTP. */
async function node() {
  const [http, https, net, tls] = await Promise.all([
    import('node:http'),
    import('node:https'),
    import('node:net'),
    import('node:tls'),
  ])
  return { http, https, net, tls }
}

type Node = Awaited<ReturnType<typeof node>>

function responseTo(
  request: HttpRequest,
  modules: Node,
  raw: Duplex,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { url, method = 'GET', headers = {}, body } = request
  const { protocol, host } = new URL(url)
  const secure = protocol === 'https:'
  const stream = secure ? encrypted(request, modules, raw) : raw
  const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
  return new Promise((resolve, reject) => {
    const sent = (secure ? modules.https : modules.http).request(url, {
      method,
      // Node assumes port 80 without an agent, even for https, and would send `Host: name:80` (seen).
      headers: { host, connection: 'close', ...headers, ...length },
      signal,
      createConnection: () => stream,
    })
    sent.once('response', resolve)
    sent.on('error', reject)
    sent.end(body)
  })
}

/**
 * Starts TLS. A server chooses its certificate by the name in the handshake (SNI), which must not be an IP address.
 */
function encrypted({ url, checkCertificate }: HttpRequest, { net, tls }: Node, raw: Duplex): Duplex {
  const name = new URL(url).hostname.replace(/^\[|\]$/g, '')
  return tls.connect({
    socket: raw,
    // The certificate must carry this name; Node's default would always be `localhost` (seen).
    host: name,
    servername: net.isIP(name) === 0 ? name : '',
    rejectUnauthorized: checkCertificate,
  })
}

/** Reads the body to its announced end. Throws if the connection closes earlier. */
async function wholeBody(response: IncomingMessage, mostBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of response) {
      const bytes = Buffer.from(chunk)
      size += bytes.length
      if (size > mostBytes) throw new Error('the answer is too long')
      chunks.push(bytes)
    }
  } catch (error) {
    throw closedTooEarly(error) ? new EndedEarly(size, response) : error
  }
  return Buffer.concat(chunks)
}

/** Tells whether the peer closed the connection early. Node reports other codes for a deadline or a cancellation. */
function closedTooEarly(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ECONNRESET'
}

/** The error of a body that ended before its announced end. */
export class EndedEarly extends Error {
  readonly size: number

  constructor(size: number, { headers }: Pick<IncomingMessage, 'headers'>) {
    const announced = headers['content-length']
    super(`the answer ended after ${size}${announced === undefined ? '' : ` of ${announced}`} bytes`)
    this.size = size
  }
}
