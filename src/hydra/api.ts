import type * as z from 'zod'
import { failure, messageOf, OpsError } from '../core/errors.js'
import { type HttpAnswer, json, refusal } from '../core/http-request.js'
import type { HydraWay } from './way.js'

/** Queries to one Hydra. Each error is one sentence, which names the URL. */
export interface HydraApi {
  readonly url: string
  /** Returns the answer; throws an error if Hydra answers 404. */
  get<T>(path: string, schema: z.ZodType<T>): Promise<T>
  /** Returns the answer, or undefined if Hydra answers 404. */
  find<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined>
  /** Returns the path behind a redirect, or undefined if Hydra answers 404. */
  target(path: string): Promise<string | undefined>
  /** Returns a page of plain text, or undefined if Hydra answers 404. */
  text(path: string): Promise<string | undefined>
}

/** Maximum number of redirects for one query; Hydra itself needs at most two. */
const mostRedirects = 4

export function hydraApi(way: HydraWay): HydraApi {
  const { url } = way

  /** Follows redirects, and returns the answer or undefined for 404. */
  async function answer(path: string): Promise<HttpAnswer | undefined> {
    let at = path
    for (let count = 0; count <= mostRedirects; count += 1) {
      const got = await asked(way, 'GET', at)
      if (got.status === 404) return undefined
      if (!isRedirect(got)) return accepted(got, at)
      at = pathBehind(url, got, at)
    }
    throw failure('HYDRA_ANSWER', `Hydra at ${url} redirects ${path} again and again`, {
      hint: 'a proxy in front of Hydra changes the address; the proxy must pass Host, and X-Forwarded-Proto with TLS',
    })
  }

  function accepted(got: HttpAnswer, path: string): HttpAnswer {
    if (got.status === 200) return got
    throw refusedBy(url, path, got)
  }

  async function find<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
    const got = await answer(path)
    return got === undefined ? undefined : parsed(url, path, got, schema)
  }

  return {
    url,
    find,
    async get(path, schema) {
      const found = await find(path, schema)
      if (found !== undefined) return found
      throw failure('HYDRA_ANSWER', `Hydra at ${url} has no page ${path}`, { hint: urlHint })
    },
    async target(path) {
      const got = await asked(way, 'GET', path)
      if (got.status === 404) return undefined
      if (isRedirect(got)) return pathBehind(url, got, path)
      throw refusedBy(url, path, got)
    },
    text: async (path) => (await answer(path))?.body,
  }
}

const urlHint = 'use the URL of Hydra itself, such as https://hydra.example.org'

/** Sends one request; throws an error with the URL if the connection fails or stays silent. */
export async function asked(
  way: HydraWay,
  method: string,
  path: string,
  body?: unknown,
): Promise<HttpAnswer> {
  try {
    return await way.request(method, path, body)
  } catch (error) {
    throw noAnswer(way.url, path, error)
  }
}

/** Creates the error for a request that got no answer; an OpsError stays as it is. */
export function noAnswer(url: string, path: string, error: unknown): OpsError {
  if (error instanceof OpsError) return error
  const why = messageOf(error)
  return failure('HYDRA_DOWN', `Hydra at ${url} does not answer ${path}: ${why}`, {
    cause: error,
    hint: /certificate|self.signed/i.test(why)
      ? 'set NODE_EXTRA_CA_CERTS=FILE if your own certificate authority issued the certificate'
      : 'check the URL; systemctl status hydra-server nginx on the Hydra machine shows more',
  })
}

/** Returns the path behind a redirect, which must stay below the URL of this Hydra. */
export function pathBehind(url: string, got: HttpAnswer, path: string): string {
  const [location = ''] = [got.headers.location ?? []].flat()
  const from = `${url}${path}`
  const to = URL.canParse(location, from) ? new URL(location, from) : undefined
  const base = new URL(url)
  const prefix = base.pathname.replace(/\/$/, '')
  if (to === undefined || to.origin !== base.origin || !to.pathname.startsWith(`${prefix}/`)) {
    throw failure('HYDRA_ANSWER', `Hydra at ${url} redirects to another address: ${location}`, {
      hint: 'use the other address as the URL if the same Hydra answers there; otherwise the proxy in front of Hydra must pass Host, and X-Forwarded-Proto with TLS',
    })
  }
  return `${to.pathname.slice(prefix.length)}${to.search}`
}

export function isRedirect({ status }: HttpAnswer): boolean {
  return [301, 302, 303, 307, 308].includes(status)
}

/** Creates the error for an unsuccessful answer. */
export function refusedBy(url: string, path: string, answer: HttpAnswer): OpsError {
  const said = refusal(answer)
  if (answer.status === 403 || answer.status === 401) {
    return failure('HYDRA_REFUSED', `Hydra at ${url} refuses ${path}: ${said}`, {
      hint: 'the user needs a role for this request (hydra-ops hydra user list); hydra-ops cannot read a private Hydra or project without a user',
    })
  }
  if (answer.status >= 500) {
    return failure('HYDRA_ANSWER', `Hydra at ${url} fails at ${path}: ${said}`, {
      hint:
        answer.status >= 502 && answer.status <= 504
          ? 'only the proxy answers; systemctl status hydra-server on the Hydra machine shows more'
          : 'journalctl -u hydra-server on the Hydra machine shows more',
    })
  }
  return failure('HYDRA_ANSWER', `Hydra at ${url} refuses ${path}: ${said}`, { hint: urlHint })
}

function parsed<T>(url: string, path: string, answer: HttpAnswer, schema: z.ZodType<T>): T {
  const value = json(answer)
  if (value === undefined) {
    const page = /^\s*</.test(answer.body)
    throw failure(
      'HYDRA_ANSWER',
      `Hydra at ${url} answers ${path} with ${page ? 'a page of HTML' : 'text'} instead of JSON`,
      { hint: `${urlHint}; a proxy in front of Hydra must pass the Accept header` },
    )
  }
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const fields = result.error.issues.map((issue) => issue.path.join('.') || 'the whole answer')
  throw failure(
    'HYDRA_ANSWER',
    `Hydra at ${url} answers ${path} with JSON that hydra-ops does not understand: ${[...new Set(fields)].slice(0, 3).join(', ')}`,
    { hint: urlHint },
  )
}
