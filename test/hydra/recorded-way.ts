import type { HttpAnswer } from '../../src/core/http-request.js'
import type { HydraWay } from '../../src/hydra/way.js'
import { readRecordings } from './recordings.js'

const recordings = readRecordings()

/**
 * Answers each request as the real Hydra did, from its recordings. `chosen` names the recordings of paths that were
 * recorded in several states.
 */
export function recordedWay(...chosen: readonly string[]): HydraWay & { readonly asked: readonly string[] } {
  const asked: string[] = []
  return {
    url: 'http://127.0.0.1:3001',
    asked,
    request: (method, path) => {
      asked.push(`${method} ${path}`)
      const fitting = [...recordings.values()].filter(
        ({ request }) =>
          request.method === method &&
          request.path === path &&
          request.port === 3001 &&
          request.headers.Accept === 'application/json' &&
          !Object.keys(request.headers).some((name) => name.startsWith('X-')),
      )
      const [one, ...others] =
        fitting.length === 1 ? fitting : fitting.filter(({ name }) => chosen.includes(name))
      if (one === undefined || others.length > 0)
        throw new Error(`${method} ${path} is recorded ${fitting.length} times: choose one`)
      return Promise.resolve(answerOf(one.response))
    },
  }
}

function answerOf({ status, headers, body }: ReturnType<typeof responseOf>): HttpAnswer {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const lower = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  )
  return { status, headers: lower, body: text, bytes: Buffer.from(text) }
}

function responseOf(name: string) {
  const found = recordings.get(name)
  if (found === undefined) throw new Error(`no recording ${name}`)
  return found.response
}
