import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

interface KnownUser {
  password: string
  roles: string[]
}

/**
 * Hydra's web interface with the features that set-up needs. The unusual replies were recorded on a real Hydra. A login
 * is a 302, and POST needs the right Origin (else 500). Errors of a push come with status 200.
 */
export class FakeHydraWeb {
  readonly users = new Map<string, KnownUser>()
  readonly requests: string[] = []
  readonly bodies: string[] = []
  /** Answers by path that replace a 404. */
  readonly pages = new Map<string, unknown>()
  readonly jobsets = new Map<string, unknown>()
  /** Numbers of the builds, which users with the right role can restart and cancel. */
  readonly builds = new Set<number>()
  private readonly server: Server

  constructor() {
    this.server = createServer((request, response) => void this.answer(request, response))
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve))
    return (this.server.address() as AddressInfo).port
  }

  close(): Promise<void> {
    this.server.closeAllConnections()
    return new Promise((resolve) => this.server.close(() => resolve()))
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request
    this.requests.push(`${method} ${url}`)
    const body = await text(request)
    if (body !== '') this.bodies.push(body)
    const send = (status: number, value: unknown, more: Record<string, string> = {}) => {
      response.writeHead(status, { 'content-type': 'application/json', ...more })
      response.end(JSON.stringify(value))
    }
    if (method === 'POST' && headers.origin !== `http://${headers.host}`)
      return send(500, { error: `POST requests should come from ‘http://${headers.host}/’.` })
    if (method === 'POST' && url === '/login') return this.login(JSON.parse(body), send)
    const name = /hydra_session=(\w+)/.exec(headers.cookie ?? '')?.[1]
    const user = this.users.get(name ?? '')
    if (url === '/current-user')
      return user === undefined
        ? send(403, { error: 'This page requires you to sign in.' })
        : send(200, { username: name, userroles: user.roles })
    if (method === 'PUT') {
      if (user === undefined) return send(403, { error: 'This page requires you to sign in.' })
      this.jobsets.set(url, JSON.parse(body))
      return send(201, {})
    }
    if (url.startsWith('/api/push')) {
      const [, jobset = ''] = /jobsets=([^&]*)/.exec(url) ?? []
      if (!this.jobsets.has(`/jobset/${jobset.replace(':', '/')}`))
        return send(200, { jobsetsTriggered: [], error: 'Caught exception: undefined value' })
      return send(200, { jobsetsTriggered: [jobset] })
    }
    const [, build, verb] = /^\/build\/(\d+)\/(restart|cancel)$/.exec(url) ?? []
    if (build !== undefined && this.builds.has(Number(build))) {
      if (user === undefined) return send(403, { error: 'This page requires you to sign in.' })
      const role = verb === 'restart' ? 'restart-jobs' : 'cancel-build'
      if (!user.roles.some((each) => each === 'admin' || each === role))
        return send(403, {
          error: `Only the project members, administrators, and accounts with ${role} privileges can perform this operation.`,
        })
      return send(302, {}, { location: `http://${headers.host}/build/${build}` })
    }
    const page = this.pages.get(url)
    return page === undefined ? send(404, { error: 'Page not found.' }) : send(200, page)
  }

  private login(
    { username, password }: { username: string; password: string },
    send: (status: number, value: unknown, more?: Record<string, string>) => void,
  ): void {
    if (this.users.get(username)?.password === password) {
      const cookie = `hydra_session=${username}; path=/; HttpOnly`
      send(302, { username }, { location: '/current-user', 'set-cookie': cookie })
    } else send(403, { error: 'Bad username or password.' })
  }
}

async function text(request: IncomingMessage): Promise<string> {
  let body = ''
  for await (const chunk of request.setEncoding('utf8')) body += String(chunk)
  return body
}
