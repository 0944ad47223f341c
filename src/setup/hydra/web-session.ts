import * as z from 'zod'
import { failure } from '../../core/errors.js'
import { type HttpAnswer, httpAnswer, json, refusal } from '../../core/http-request.js'
import type { TaskRun } from '../../core/setup-task.js'
import type { WebEntrance } from './settings.js'

const requestMs = 120_000

const CurrentUser = z.object({ username: z.string(), userroles: z.array(z.string()) })
export type CurrentUser = z.infer<typeof CurrentUser>

/** A session with Hydra's API like a user's browser, at the URL that users open. */
export class WebSession {
  private readonly entrance: WebEntrance
  private readonly run: TaskRun
  private cookie = ''

  constructor(entrance: WebEntrance, run: TaskRun) {
    this.entrance = entrance
    this.run = run
  }

  private get url(): string {
    return this.entrance.url
  }

  /** Sends a request. Hydra accepts POST only from its own pages: Origin must be exactly its own URL (measured). */
  async request(method: string, path: string, body?: unknown): Promise<HttpAnswer> {
    return askEntrance(this.entrance, this.run, {
      path,
      method,
      timeoutMs: requestMs,
      headers: {
        accept: 'application/json',
        origin: this.url,
        ...(this.cookie === '' ? {} : { cookie: this.cookie }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  }

  /** Logs in. The error holds Hydra's refusal but not the password. */
  async login(machine: string, username: string, password: string): Promise<void> {
    const answer = await this.request('POST', '/login', { username, password })
    // A successful login answers 302 to /current-user; newer versions may answer 200.
    if (answer.status !== 302 && answer.status !== 200) {
      throw failure(
        'LOGIN',
        `machine '${machine}': user '${username}' cannot log in at ${this.url}: ${refusal(answer)}`,
        { machine, hint: loginHint(answer) },
      )
    }
    const cookies = [answer.headers['set-cookie'] ?? []].flat()
    this.cookie = cookies.map((each) => each.split(';', 1)[0] ?? '').join('; ')
  }

  async currentUser(machine: string): Promise<CurrentUser> {
    const answer = await this.request('GET', '/current-user')
    const parsed = answer.status === 200 ? CurrentUser.safeParse(json(answer)) : undefined
    if (parsed?.success === true) return parsed.data
    throw failure('LOGIN', `machine '${machine}': ${this.url}/current-user: ${refusal(answer)}`, { machine })
  }
}

interface EntranceRequest {
  readonly path: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly timeoutMs: number
}

/**
 * Asks the machine for a page that users open. A foreign proxy in front of the machine may decrypt. The request then
 * looks like a request from that proxy: plain, with the host of the URL.
 */
export function askEntrance(
  { url, port, encrypted, headers }: WebEntrance,
  run: TaskRun,
  request: EntranceRequest,
): Promise<HttpAnswer> {
  const { path, ...rest } = request
  const { host } = new URL(url)
  return httpAnswer({
    ...rest,
    url: `${encrypted ? 'https' : 'http'}://${host}${path}`,
    headers: { host, ...headers, ...request.headers },
    // The check is about Hydra, and the options allow a self-signed certificate. The connection goes through ssh, or to
    // a port of this host.
    checkCertificate: false,
    connect: (bounds) => run.connect(port, bounds),
    signal: run.signal,
  })
}

function loginHint(answer: HttpAnswer): string {
  if (answer.body.includes('POST requests should come from'))
    return 'a proxy before Hydra changes the host name; the proxy must pass Host, and X-Forwarded-Proto with TLS'
  if (answer.status === 502 || answer.status === 504)
    return 'journalctl -u hydra-server on the machine says more'
  return 'hydra-ops logs shows the earlier changes to this user'
}
