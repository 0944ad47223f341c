import * as z from 'zod'
import { failure } from '../core/errors.js'
import { type HttpAnswer, json, refusal } from '../core/http-request.js'
import { requestHeaders, type SentRequest } from './way.js'

const CurrentUser = z.object({ username: z.string(), userroles: z.array(z.string()) })
export type CurrentUser = z.infer<typeof CurrentUser>

/** Sends a request of a session to Hydra. */
export type SendToHydra = (request: SentRequest) => Promise<HttpAnswer>

/** A session with Hydra's API, like a user's browser session, at the URL that users open. */
export class HydraSession {
  readonly url: string
  private readonly send: SendToHydra
  private cookie = ''

  constructor(url: string, send: SendToHydra) {
    this.url = url
    this.send = send
  }

  request(method: string, path: string, body?: unknown): Promise<HttpAnswer> {
    return this.send({
      method,
      path,
      headers: {
        ...requestHeaders(this.url, body),
        ...(this.cookie === '' ? {} : { cookie: this.cookie }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  }

  /**
   * Logs in. The error contains Hydra's refusal but not the password. `machine` is the machine that runs Hydra, if
   * known.
   */
  async login(machine: string | undefined, username: string, password: string): Promise<void> {
    const answer = await this.tryLogin(username, password)
    if (answer !== undefined) throw this.refusedLogin(machine, username, answer)
  }

  /** Logs in, and returns whether Hydra accepts the password; throws every other failure. */
  async accepts(machine: string, username: string, password: string): Promise<boolean> {
    const answer = await this.tryLogin(username, password)
    if (answer === undefined) return true
    if (answer.status === 403) return false
    throw this.refusedLogin(machine, username, answer)
  }

  /** Adopts the cookie of a session that began on the machine itself. */
  adopt(cookie: string): void {
    this.cookie = cookie
  }

  /** Ends the session; a failure is harmless, because sessions expire. */
  async logout(): Promise<void> {
    if (this.cookie === '') return
    await this.request('POST', '/logout').catch(() => undefined)
    this.cookie = ''
  }

  /** Logs in; returns the answer if Hydra refuses the login. */
  private async tryLogin(username: string, password: string): Promise<HttpAnswer | undefined> {
    const answer = await this.request('POST', '/login', { username, password })
    const cookies = [answer.headers['set-cookie'] ?? []].flat().map((each) => each.split(';', 1)[0] ?? '')
    // A successful login answers 302 to /current-user; newer versions may answer 200. Another program's page, such as a
    // proxy's login page, may answer likewise, but sets no cookie of Hydra.
    const isAccepted = answer.status === 302 || answer.status === 200
    if (!isAccepted || !cookies.some((each) => each.startsWith('hydra_session='))) return answer
    this.cookie = cookies.join('; ')
    return undefined
  }

  private refusedLogin(machine: string | undefined, username: string, answer: HttpAnswer): Error {
    return failure(
      'LOGIN',
      `${subjectOf(machine)}user '${username}' cannot log in at ${this.url}: ${refusal(answer)}`,
      { ...(machine === undefined ? {} : { machine }), hint: loginHint(answer) },
    )
  }

  async currentUser(machine: string | undefined): Promise<CurrentUser> {
    const answer = await this.request('GET', '/current-user')
    const parsed = answer.status === 200 ? CurrentUser.safeParse(json(answer)) : undefined
    if (parsed?.success === true) return parsed.data
    throw failure('LOGIN', `${subjectOf(machine)}${this.url}/current-user: ${refusal(answer)}`, {
      ...(machine === undefined ? {} : { machine }),
    })
  }
}

function subjectOf(machine: string | undefined): string {
  return machine === undefined ? '' : `machine '${machine}': `
}

function loginHint(answer: HttpAnswer): string {
  if (answer.body.includes('POST requests should come from'))
    return 'a proxy in front of Hydra changes the host name; the proxy must pass Host, and X-Forwarded-Proto with TLS'
  if (answer.status < 400)
    return 'another program answers at this URL, such as a proxy with a login page of its own; the URL must lead to Hydra'
  if (answer.status === 502 || answer.status === 504)
    return 'journalctl -u hydra-server on the machine shows more'
  return 'hydra-ops logs shows the earlier changes to this user'
}
