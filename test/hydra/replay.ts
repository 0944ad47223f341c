import { request as httpRequest } from 'node:http'
import type { Answer } from './agreement.js'
import type { Recording } from './recordings.js'

const deadlineMs = 60_000
const cookieName = 'hydra_session'

/** A sender of recorded requests, which replaces the recorded session ids with the session ids of this run. */
export class Replay {
  readonly #sessions = new Map<string, string>()
  readonly #ports: Readonly<Record<number, number>>

  /** Takes the port that replaces each recorded port. */
  constructor(ports: Readonly<Record<number, number>>) {
    this.#ports = ports
  }

  /** Logs in for a recorded session id whose login was not recorded. */
  async logIn(session: string, username: string, password: string): Promise<void> {
    const { headers } = await send(this.#port(3001), {
      method: 'POST',
      path: '/login',
      headers: {
        Accept: 'application/json',
        'Content-Type': 'application/json',
        Host: '127.0.0.1:3001',
        Origin: 'http://127.0.0.1:3001',
      },
      body: JSON.stringify({ username, password }),
    })
    const given = sessionOf(headers['set-cookie'])
    if (given === undefined) throw new Error(`${username} got no session`)
    this.#sessions.set(session, given)
  }

  async send({ request, response }: Recording): Promise<Answer> {
    const headers: Record<string, string> = { Host: `127.0.0.1:${request.port}`, ...request.headers }
    const recorded = /hydra_session=([0-9a-f]+)/.exec(headers.Cookie ?? '')?.[1]
    if (recorded !== undefined) headers.Cookie = `${cookieName}=${this.#sessions.get(recorded) ?? recorded}`
    const { body } = request
    const answer = await send(this.#port(request.port), {
      method: request.method,
      path: request.path,
      headers,
      ...(body === null ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const set = /hydra_session=([0-9a-f]+)/.exec(response.headers['Set-Cookie'] ?? '')?.[1]
    const given = sessionOf(answer.headers['set-cookie'])
    if (set !== undefined && given !== undefined) this.#sessions.set(set, given)
    return answer
  }

  /** Returns this run's port for a recorded port of hydra-server, of nix-serve, or of an nginx before either. */
  #port(recorded: number): number {
    const port = this.#ports[recorded]
    if (port === undefined) throw new Error(`nothing stands for port ${recorded}`)
    return port
  }
}

interface Sent {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

function sessionOf(cookies: readonly string[] | undefined): string | undefined {
  return /hydra_session=([0-9a-f]+)/.exec(cookies?.join() ?? '')?.[1]
}

type Received = Answer & { readonly headers: { readonly 'set-cookie'?: readonly string[] } }

/** Sends one request on a separate connection. */
export function send(port: number, { method, path, headers, body }: Sent): Promise<Received> {
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'Content-Length': String(Buffer.byteLength(body)) }
    const sent = httpRequest(
      {
        host: '127.0.0.1',
        port,
        method,
        path,
        headers: { ...headers, ...length },
        agent: false,
        timeout: deadlineMs,
      },
      (response) => {
        const parts: Buffer[] = []
        response.on('data', (part: Buffer) => parts.push(part))
        response.on('error', reject)
        response.on('end', () => {
          const cookies = response.headers['set-cookie']
          resolve({
            status: response.statusCode ?? 0,
            contentType: response.headers['content-type'] ?? '',
            location: response.headers.location ?? '',
            body: Buffer.concat(parts).toString('utf8'),
            headers: cookies === undefined ? {} : { 'set-cookie': cookies },
          })
        })
      },
    )
    sent.on('timeout', () =>
      sent.destroy(new Error(`${method} ${path}: no answer within ${deadlineMs / 1000} s`)),
    )
    sent.on('error', reject)
    sent.end(body)
  })
}
