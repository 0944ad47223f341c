import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect as connectPlain } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'

/** A TCP connection from the operator host. */
export function connectFromOperator(host: string, port: number, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connectPlain({ host, port, signal })
    socket.once('connect', () => resolve(socket))
    // Stays after the connection is made: what happens to it then is seen by whoever uses it.
    socket.on('error', reject)
  })
}

/** The status of one GET over a connection that somebody else makes; redirects are not followed. */
export async function requestStatus(
  url: string,
  options: {
    readonly headers: Readonly<Record<string, string>>
    readonly insecure: boolean
    readonly signal: AbortSignal
    connect(): Promise<Duplex>
  },
): Promise<number> {
  const { hostname, protocol } = new URL(url)
  const raw = await options.connect()
  // What breaks the connection is reported by what reads from it.
  raw.on('error', () => {})
  try {
    const secure = protocol === 'https:'
    const request = secure ? httpsRequest : httpRequest
    const stream = secure ? await handshake(raw, hostname, options) : raw
    const response = await answer(
      request(url, {
        headers: { ...options.headers },
        signal: options.signal,
        createConnection: () => stream,
      }),
    )
    return response.statusCode ?? 0
  } finally {
    raw.destroy()
  }
}

function answer(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once('response', (response) => {
      // Its body is not wanted; the connection ends with it unread.
      response.on('error', () => {})
      resolve(response)
    })
    request.on('error', reject)
    request.end()
  })
}

function handshake(
  raw: Duplex,
  hostname: string,
  options: { readonly insecure: boolean; readonly signal: AbortSignal },
): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const servername = /^[\d.]+$|:/.test(hostname) ? '' : hostname
    const socket = connectTls({ socket: raw, servername, rejectUnauthorized: !options.insecure })
    const abort = () => socket.destroy(new Error('interrupted'))
    options.signal.addEventListener('abort', abort, { once: true })
    socket.once('secureConnect', () => {
      options.signal.removeEventListener('abort', abort)
      resolve(socket)
    })
    socket.on('error', reject)
  })
}
