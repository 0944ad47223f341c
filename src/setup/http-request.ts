import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'

export interface HttpAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

export interface HttpRequest {
  readonly url: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Redirects are not followed. */
  connect(): Promise<Duplex>
  readonly signal: AbortSignal
  readonly timeoutMs: number
}

/** More than any page that is asked for. */
const mostBytes = 4 * 1024 * 1024

/**
 * One request over a connection that somebody else makes. A certificate is not checked: what is asked is whether the
 * service behind it works, and a self-signed one is among the choices.
 */
export async function httpAnswer(request: HttpRequest): Promise<HttpAnswer> {
  const signal = AbortSignal.any([request.signal, AbortSignal.timeout(request.timeoutMs)])
  // Every start knows the tasks; few ask anything over HTTP.
  const [http, https, tls] = await Promise.all([
    import('node:http'),
    import('node:https'),
    import('node:tls'),
  ])
  const raw = await request.connect()
  // What breaks the connection is reported by what reads from it.
  raw.on('error', () => {})
  const abort = () => raw.destroy(new Error('no answer in time'))
  signal.addEventListener('abort', abort, { once: true })
  try {
    const secure = new URL(request.url).protocol === 'https:'
    const stream = secure ? tls.connect({ socket: raw, rejectUnauthorized: false }) : raw
    const { method = 'GET', headers = {}, body } = request
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = (secure ? https : http).request(request.url, {
        method,
        // Over a connection of ours, node would name port 80 in it whatever the scheme is.
        headers: { host: new URL(request.url).host, connection: 'close', ...headers, ...length },
        signal,
        createConnection: () => stream,
      })
      sent.once('response', resolve)
      sent.on('error', reject)
      sent.end(body)
    })
    return { status: response.statusCode ?? 0, headers: response.headers, body: await text(response) }
  } finally {
    signal.removeEventListener('abort', abort)
    raw.destroy()
  }
}

async function text(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response) {
    const bytes = Buffer.from(chunk)
    size += bytes.length
    if (size > mostBytes) throw new Error('the answer is too long')
    chunks.push(bytes)
  }
  return Buffer.concat(chunks).toString('utf8')
}
