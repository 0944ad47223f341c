import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer, type Server } from 'node:https'
import {
  type AddressInfo,
  connect,
  createServer as createNetServer,
  type Server as NetServer,
} from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type HttpRequest, httpAnswer, httpStatus } from '../../src/core/http-request.js'
import type { Host } from '../../src/core/ssh.js'
import { type Sshd, startSshd } from '../fixtures/sshd.js'
import { connected, never } from '../fixtures/sshd-session.js'

const folder = fileURLToPath(new URL('../fixtures/tls/', import.meta.url))
const tls = {
  key: readFileSync(`${folder}self-signed.key`),
  cert: readFileSync(`${folder}self-signed.crt`),
}

interface Seen {
  readonly host: string | undefined
  /** Server name in the TLS handshake; false without a name. */
  readonly sni: string | boolean | null | undefined
}

let seen: Seen[] = []
let plain: NetServer
let secure: Server
let sshd: Sshd
let machine: Host

function answer(request: IncomingMessage, response: ServerResponse): void {
  const { socket } = request
  seen.push({ host: request.headers.host, sni: socket instanceof TLSSocket ? socket.servername : undefined })
  if (request.url === '/long') response.end('x'.repeat(5 * 1024 * 1024))
  else if (request.url === '/never') response.flushHeaders()
  else request.pipe(response)
}

beforeAll(async () => {
  plain = createHttpServer(answer)
  secure = createHttpsServer(tls, answer)
  for (const server of [plain, secure])
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  sshd = await startSshd()
  machine = await connected(sshd.target())
})
afterAll(async () => {
  machine?.close()
  for (const server of [plain, secure]) server?.close()
  await sshd?.stop()
})

const portOf = (server: NetServer) => (server.address() as AddressInfo).port

/** Returns a request over ssh, as for a service whose port the machine does not publish. */
function overSsh(url: string, more: Partial<HttpRequest> = {}): HttpRequest {
  const port = portOf(url.startsWith('https:') ? secure : plain)
  return {
    url,
    checkCertificate: false,
    signal: never,
    timeoutMs: 60_000,
    connect: (): Promise<Duplex> =>
      machine.connectTcp('127.0.0.1', port, { signal: never, timeoutMs: 60_000 }),
    ...more,
  }
}

async function seenFor(request: HttpRequest): Promise<Seen | undefined> {
  seen = []
  await httpStatus(request)
  return seen[0]
}

describe('a request over a connection of ours', () => {
  it.each([
    ['https://hydra.example.org/', 'hydra.example.org'],
    ['https://hydra.example.org:443/', 'hydra.example.org'],
    ['https://hydra.example.org:8443/', 'hydra.example.org:8443'],
    ['http://hydra.example.org/', 'hydra.example.org'],
    ['http://hydra.example.org:28080/', 'hydra.example.org:28080'],
    ['http://[::1]:3000/', '[::1]:3000'],
  ])('asks %s as the host %s', async (url, host) => {
    expect(await seenFor(overSsh(url))).toMatchObject({ host })
  })

  it('allows another Host, in any spelling', async () => {
    const request = overSsh('https://127.0.0.1/', { headers: { Host: 'cache.example.org' } })
    expect(await seenFor(request)).toMatchObject({ host: 'cache.example.org' })
  })

  it('tells the server its name with the handshake, and no address', async () => {
    expect(await seenFor(overSsh('https://hydra.example.org/'))).toMatchObject({ sni: 'hydra.example.org' })
    for (const url of ['https://127.0.0.1/', 'https://[::1]/'])
      expect(await seenFor(overSsh(url))).toMatchObject({ sni: false })
  })

  it('sends a body, and reads the whole answer', async () => {
    const body = `{"text":"${'ä'.repeat(50_000)}"}`
    const request = overSsh('https://hydra.example.org/', { method: 'POST', body })
    expect(await httpAnswer(request)).toMatchObject({ status: 200, body })
  })

  it('gives up on an answer that is too long', async () => {
    await expect(httpAnswer(overSsh('http://hydra.example.org/long'))).rejects.toThrow('too long')
  })

  it('ends at its deadline or with a cancel, and says which', async () => {
    const request = overSsh('https://hydra.example.org/never', { timeoutMs: 500 })
    await expect(httpAnswer(request)).rejects.toThrow('no answer within 0.5 s')
    const cancel = new AbortController()
    const cancelled = httpAnswer(overSsh('https://hydra.example.org/never', { signal: cancel.signal }))
    cancel.abort()
    await expect(cancelled).rejects.toMatchObject({ code: 'INTERRUPTED' })
  })

  it('rejects an untrusted certificate when certificates are checked', async () => {
    const request = overSsh('https://localhost/', { checkCertificate: true })
    await expect(httpStatus(request)).rejects.toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
  })
})

describe('a trusted certificate', () => {
  /** Returns the status from a new process, because Node reads the trusted certificates only at its start. */
  const status = async (url: string) => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [
        fileURLToPath(new URL('../state/run-typescript.mjs', import.meta.url)),
        fileURLToPath(new URL('./http-request-process.ts', import.meta.url)),
        url,
        String(portOf(secure)),
      ],
      { env: { ...process.env, NODE_EXTRA_CA_CERTS: `${folder}self-signed.crt` } },
    )
    return stdout.trim()
  }

  it('must be made out to the name in the URL, or to its address', async () => {
    expect(await status('https://localhost/')).toBe('200')
    expect(await status('https://hydra.example.org/')).toBe('ERR_TLS_CERT_ALTNAME_INVALID')
    expect(await status('https://127.0.0.1/')).toBe('ERR_TLS_CERT_ALTNAME_INVALID')
  })
})

describe('an answer that ends too early', () => {
  let cut: NetServer
  let text: string
  beforeAll(async () => {
    cut = createNetServer((socket) => {
      socket.once('data', () => socket.end(text)).on('error', () => {})
    })
    await new Promise<void>((resolve) => cut.listen(0, '127.0.0.1', resolve))
  })
  afterAll(() => cut?.close())

  const direct = async (): Promise<Duplex> => {
    const socket = connect(portOf(cut), '127.0.0.1')
    await new Promise((resolve) => socket.once('connect', resolve))
    return socket
  }
  const throughSsh = () => machine.connectTcp('127.0.0.1', portOf(cut), { signal: never, timeoutMs: 60_000 })

  it.each([
    ['no body at all', 'content-length: 152\r\n\r\n', 'the answer ended after 0 of 152 bytes'],
    ['half of the body', 'content-length: 10\r\n\r\nhello', 'the answer ended after 5 of 10 bytes'],
    ['a chunk too few', 'transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n', 'the answer ended after 5 bytes'],
  ])('is an error with %s, at a port as well as through ssh', async (_, rest, message) => {
    text = `HTTP/1.1 200 OK\r\n${rest}`
    for (const way of [direct, throughSsh])
      await expect(httpAnswer(overSsh('http://hydra.example.org/', { connect: way }))).rejects.toThrow(
        message,
      )
  })

  it('is not an error when the server does not announce a length, or has nothing to send', async () => {
    for (const [rest, body] of [
      ['\r\nhello', 'hello'],
      ['content-length: 0\r\n\r\n', ''],
    ] as const) {
      text = `HTTP/1.1 200 OK\r\n${rest}`
      expect(await httpAnswer(overSsh('http://hydra.example.org/', { connect: direct }))).toMatchObject({
        body,
      })
    }
    text = 'HTTP/1.1 200 OK\r\ncontent-length: 152\r\n\r\n'
    const head = overSsh('http://hydra.example.org/', { connect: direct, method: 'HEAD' })
    expect(await httpAnswer(head)).toMatchObject({ status: 200, body: '' })
  })
})

it('a connection that breaks is an error, not a crash', async () => {
  const request = overSsh('https://hydra.example.org/', {
    connect: async () => {
      const socket = connect(portOf(plain), '127.0.0.1')
      await new Promise((resolve) => socket.once('connect', resolve))
      return socket
    },
  })
  await expect(httpAnswer(request)).rejects.toThrow()
})
