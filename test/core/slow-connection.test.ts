import type { Duplex } from 'node:stream'
import { expect, it } from 'vitest'
import type { Bounds } from '../../src/core/deadline.js'
import { httpAnswer, httpStatus } from '../../src/core/http-request.js'
import { smtpGreeting } from '../../src/setup/smtp-greeting.js'

/** Returns a connection that is never established, and that fails when its signal fires. */
const unmade = (bounds: Bounds | undefined): Promise<Duplex> =>
  new Promise((_, reject) => {
    bounds?.signal.addEventListener('abort', () => reject(new Error('the connection was given up')))
  })

const web = { url: 'http://127.0.0.1/', checkCertificate: false, connect: unmade }

const questions: readonly [string, string, (bounds: Bounds) => Promise<unknown>][] = [
  ['a request for a page', 'no answer', (bounds) => httpAnswer({ ...web, ...bounds })],
  ['a request for a status', 'no answer', (bounds) => httpStatus({ ...web, ...bounds })],
  ['a question to a mail server', 'no greeting', (bounds) => smtpGreeting({ connect: unmade, ...bounds })],
]

it.each(questions)(
  'the call %s ends at its deadline while the connection is still being made',
  async (_, no, ask) => {
    const { signal } = new AbortController()
    await expect(ask({ signal, timeoutMs: 20 })).rejects.toThrow(`${no} within 0.02 s`)
  },
)

it.each(questions)(
  'the call %s ends with a cancel while the connection is still being made',
  async (_, _no, ask) => {
    const cancel = new AbortController()
    const ended = expect(ask({ signal: cancel.signal, timeoutMs: 60_000 })).rejects.toMatchObject({
      code: 'INTERRUPTED',
    })
    setImmediate(() => cancel.abort())
    await ended
  },
)
