import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { OpsError } from '../../src/core/errors.js'
import { hydraApi } from '../../src/hydra/api.js'
import { jobsets, queue } from '../../src/hydra/read.js'
import { wayFromOperator } from '../../src/hydra/way.js'

let server: Server | undefined

afterEach(async () => {
  server?.closeAllConnections()
  await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())))
  server = undefined
})

async function listen(answer: RequestListener): Promise<string> {
  const started = createServer(answer)
  server = started
  await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${portOf(started)}`
}

function portOf(started: Server): number {
  const address: AddressInfo | string | null = started.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  return address.port
}

const controller = () => new AbortController()

async function faultOf(
  url: string,
  how: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
): Promise<OpsError> {
  const api = hydraApi(wayFromOperator(url, { signal: controller().signal, log: () => {}, ...how }))
  const error = await queue(api).catch((thrown: unknown) => thrown)
  if (!(error instanceof OpsError)) throw new Error(`expected a failure, got ${String(error)}`)
  expect(error.message).not.toContain('\n')
  return error
}

const page = '<!DOCTYPE html>\n<html><body>welcome</body></html>'

describe('a question to a Hydra', () => {
  it('asks for JSON, below the path of its URL, and takes a list of many megabytes', async () => {
    const seen: (string | undefined)[] = []
    const url = await listen(({ url: path, headers }, answer) => {
      seen.push(path, headers.accept)
      const build = { id: 1, finished: 0, nixname: 'x'.repeat(1000) }
      answer.end(JSON.stringify(Array.from({ length: 6000 }, () => build)))
    })
    const api = hydraApi(wayFromOperator(`${url}/hydra/`, { signal: controller().signal, log: () => {} }))
    expect(await queue(api)).toHaveLength(6000)
    expect(seen).toEqual(['/hydra/queue', 'application/json'])
  })

  it('follows a redirect below the same URL', async () => {
    const url = await listen(({ url: path }, answer) => {
      if (path === '/hydra/queue') answer.writeHead(302, { location: `${url}/hydra/other` }).end(page)
      else answer.end(path === '/hydra/other' ? '[]' : 'wrong')
    })
    const api = hydraApi(wayFromOperator(`${url}/hydra`, { signal: controller().signal, log: () => {} }))
    expect(await queue(api)).toEqual([])
  })

  it('says in one sentence that nothing listens there', async () => {
    const url = await listen(() => {})
    await new Promise<void>((resolve) => server?.close(() => resolve()))
    server = undefined
    const fault = await faultOf(url)
    expect(fault.message).toMatch(
      /^Hydra at http:\/\/127\.0\.0\.1:\d+ does not answer \/queue: .*ECONNREFUSED/,
    )
    expect(fault.hint).toContain('systemctl status hydra-server')
  })

  it('ends at its deadline when Hydra accepts and stays silent', async () => {
    const url = await listen(() => {})
    const fault = await faultOf(url, { timeoutMs: 200 })
    expect(fault.message).toBe(`Hydra at ${url} does not answer /queue: no answer within 0.2 s`)
  })

  it('says what it waits for when Hydra is slow, and takes the late answer', async () => {
    const said: string[] = []
    let answerNow = () => {}
    const answers = new Promise<void>((resolve) => {
      answerNow = resolve
    })
    // The line may come before the request on a busy host.
    const url = await listen((_, answer) => void answers.then(() => answer.end('[]')))
    const log = (line: string) => {
      said.push(line)
      answerNow()
    }
    const way = wayFromOperator(url, { signal: controller().signal, log, quietMs: 20 })
    expect(await queue(hydraApi(way))).toEqual([])
    expect(said).toEqual([`waiting for Hydra at ${url}, which has not answered /queue yet (at most 60 s)`])
  })

  it('ends at its deadline when the answer stops in the middle', async () => {
    const url = await listen((_, answer) => {
      answer.write('[{"id": 1,')
    })
    expect((await faultOf(url, { timeoutMs: 300 })).message).toContain('no answer within 0.3 s')
  })

  it('ends at once when the user cancels', async () => {
    const cancel = controller()
    const url = await listen(() => cancel.abort())
    const fault = await faultOf(url, { signal: cancel.signal })
    expect(fault.code).toBe('INTERRUPTED')
  })

  it('reports a page of HTML from Hydra', async () => {
    const url = await listen((_, answer) => answer.writeHead(200, { 'content-type': 'text/html' }).end(page))
    const fault = await faultOf(url)
    expect(fault.message).toBe(`Hydra at ${url} answers /queue with a page of HTML instead of JSON`)
    expect(fault.hint).toContain('use the URL of Hydra itself')
  })

  it('passes on the reason of a status 500, and not a page', async () => {
    const db = 'DBI connection failed: connection to server on socket refused'
    const url = await listen((_, answer) =>
      answer.writeHead(500).end(JSON.stringify({ error: `${db}\nat line 1` })),
    )
    expect((await faultOf(url)).message).toBe(`Hydra at ${url} fails at /queue: status 500, ${db}`)
    server?.removeAllListeners('request').on('request', (_, answer) => answer.writeHead(500).end(page))
    expect((await faultOf(url)).message).toBe(`Hydra at ${url} fails at /queue: status 500`)
  })

  it('reports a proxy without a Hydra behind it', async () => {
    const url = await listen((_, answer) => answer.writeHead(502).end(page))
    expect((await faultOf(url)).hint).toContain('only the proxy answers')
  })

  it.each([
    ['another host', () => 'http://hydra.example.org/queue'],
    ['another port', () => 'http://127.0.0.1:1/queue'],
    ['another protocol', (url: string) => `${url.replace('http:', 'https:')}/queue`],
  ])('refuses a redirect to %s', async (_, location) => {
    const url = await listen((__, answer) => answer.writeHead(302, { location: location(url) }).end(page))
    const fault = await faultOf(url)
    expect(fault.message).toBe(`Hydra at ${url} redirects to another address: ${location(url)}`)
  })

  it('refuses a redirect out of the path of the URL', async () => {
    const url = await listen((_, answer) => answer.writeHead(302, { location: '/hydra-old/queue' }).end(page))
    expect((await faultOf(`${url}/hydra`)).message).toContain(
      'redirects to another address: /hydra-old/queue',
    )
  })

  it('does not follow redirects forever', async () => {
    let count = 0
    const url = await listen((_, answer) => {
      count += 1
      answer.writeHead(302, { location: '/queue' }).end(page)
    })
    expect((await faultOf(url)).message).toBe(`Hydra at ${url} redirects /queue again and again`)
    expect(count).toBeLessThan(10)
  })

  it('names the fields of JSON that is not the expected', async () => {
    const url = await listen((_, answer) => answer.end(JSON.stringify([{ id: 'seven', finished: 0 }])))
    expect((await faultOf(url)).message).toBe(
      `Hydra at ${url} answers /queue with JSON that hydra-ops does not understand: 0.id`,
    )
  })

  it('says that a private Hydra wants a login', async () => {
    const url = await listen((_, answer) =>
      answer.writeHead(403).end(JSON.stringify({ error: 'This page requires you to sign in.' })),
    )
    const fault = await faultOf(url)
    expect(fault.message).toBe(
      `Hydra at ${url} refuses /queue: status 403, This page requires you to sign in.`,
    )
    expect(fault.hint).toContain('private')
  })

  it('blames the URL if another server has none of the pages', async () => {
    const url = await listen((_, answer) => answer.writeHead(404).end('not here'))
    const api = hydraApi(wayFromOperator(url, { signal: controller().signal, log: () => {} }))
    await expect(jobsets(api, 'infra')).rejects.toMatchObject({
      message: `Hydra at ${url} has no page /`,
      hint: expect.stringContaining('use the URL of Hydra itself'),
    })
  })
})
