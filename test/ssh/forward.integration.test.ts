import { createServer, connect as netConnect } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Host } from '../../src/core/ssh.js'
import { freePort } from '../fixtures/free-port.js'
import { type Sshd, startSshd } from '../fixtures/sshd.js'
import { connected, never } from '../fixtures/sshd-session.js'

let sshd: Sshd
let host: Host
/** A server that sends each line back, on a port of the loopback. */
let echo: { port: number; close(): void }

beforeAll(async () => {
  sshd = await startSshd()
  host = await connected(sshd.target())
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  const port = await freePort()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  echo = { port, close: () => server.close() }
})

afterAll(async () => {
  host.close()
  echo.close()
  await sshd.stop()
})

const soon = { signal: never, timeoutMs: 60_000 }

describe('a connection from the machine', () => {
  it('carries bytes both ways, and ends', async () => {
    const stream = await host.connectTcp('127.0.0.1', echo.port, soon)
    stream.end('x'.repeat(500_000))
    expect((await text(stream)).length).toBe(500_000)
  })

  it('fails with an error that names the port when the port is closed', async () => {
    const port = await freePort()
    await expect(host.connectTcp('127.0.0.1', port, soon)).rejects.toMatchObject({
      code: 'CONNECT',
      machine: 'web',
      message: expect.stringContaining(`cannot connect to 127.0.0.1:${port}`),
    })
  })
})

describe('a port of the operator', () => {
  it('can be reached from the machine until it is closed', async () => {
    const forward = await host.forwardFromRemote(echo.port, { signal: never })
    const [one, two] = await Promise.all([roundTrip(forward.port, 'one'), roundTrip(forward.port, 'two')])
    expect([one, two]).toEqual(['one', 'two'])
    await forward.close()
    await expect(roundTrip(forward.port, 'late')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  it('closes incoming connections when nothing listens', async () => {
    const forward = await host.forwardFromRemote(await freePort(), { signal: never })
    expect(await roundTrip(forward.port, 'x').catch(() => '')).toBe('')
    await forward.close()
  })

  it('cannot be offered when sshd forbids it, and the error says so', async () => {
    const strict = await startSshd({ config: ['AllowTcpForwarding no'] })
    const there = await connected(strict.target())
    await expect(there.forwardFromRemote(echo.port, { signal: never })).rejects.toMatchObject({
      code: 'FORWARD',
      hint: expect.stringContaining('AllowTcpForwarding'),
    })
    there.close()
    await strict.stop()
  })
})

function roundTrip(port: number, word: string): Promise<string> {
  const socket = netConnect(port, '127.0.0.1')
  socket.end(word)
  return text(socket)
}
