import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HealthChecks } from '../../src/core/health-checks.js'
import type { Run } from '../../src/core/run.js'
import { type CheckFailure, runChecks } from '../../src/deploy/health.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'
import { freePort } from '../fixtures/free-port.js'

const fixtures = fileURLToPath(new URL('../fixtures/tls/', import.meta.url))
/** One attempt, so that a failing check fails soon. The attempt has enough time for an answer on a busy host. */
const once = { period: 2, timeout: 20, total: 2 }
/** The limits for a check that must succeed on a busy machine. */
const patient = { period: 0.02, timeout: 20, total: 60 }

let folder: string
let servers: Server[]
let host: LocalShellHost
let controller: AbortController
let logged: string[]

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-health-'))
  servers = []
  host = new LocalShellHost({ bin: folder })
  controller = new AbortController()
  logged = []
})
afterEach(async () => {
  for (const server of servers) server.close()
  rmSync(folder, { recursive: true, force: true })
})

async function listen(server: Server): Promise<number> {
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

function web(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<number> {
  return listen(createHttpServer(answer))
}

function check(checks: Record<string, unknown>): Promise<CheckFailure[]> {
  const run: Run = { signal: controller.signal, log: (line) => logged.push(line) }
  return runChecks('healthChecks', HealthChecks.parse(checks), { host, machine: host.machine, run })
}

function standIn(name: string, body: string): void {
  writeFileSync(join(folder, name), `#!/bin/sh\n${body}\n`, { mode: 0o755 })
}

describe('the check cmd', () => {
  it('holds when the command ends with 0', async () => {
    expect(await check({ cmd: [{ ...patient, cmd: ['true'] }] })).toEqual([])
  })

  it('is tried until it holds', async () => {
    const cmd = ['sh', '-c', `echo x >> '${folder}/tries'; [ $(wc -l < '${folder}/tries') -ge 3 ]`]
    expect(await check({ cmd: [{ ...patient, cmd }] })).toEqual([])
    expect(readFileSync(join(folder, 'tries'), 'utf8')).toBe('x\nx\nx\n')
  })

  it('reports the exit and the output of the last attempt', async () => {
    const [failed] = await check({ cmd: [{ ...once, cmd: ['sh', '-c', 'echo out of order >&2; exit 3'] }] })
    expect(failed?.check).toBe('cmd: sh -c echo out of order >&2; exit 3')
    expect(failed?.detail).toContain('the command ended with status 3: out of order (tried for 2 s)')
  })

  it('goes by its description', async () => {
    const [failed] = await check({ cmd: [{ ...once, description: 'the queue moves', cmd: ['false'] }] })
    expect(failed?.check).toBe('the queue moves')
  })

  it('ends a command that hangs, within the total', async () => {
    const [failed] = await check({ cmd: [{ ...once, timeout: 0.1, cmd: ['sleep', '1000'] }] })
    expect(failed?.detail).toContain('did not end within')
  })

  it('executes its words as they are', async () => {
    const [failed] = await check({
      cmd: [{ ...once, cmd: ['sh', '-c', 'echo "$1" >&2; exit 1', 'sh', '$(id); `id`'] }],
    })
    expect(failed?.detail).toContain(': $(id); `id` (tried')
  })
})

describe('the check http', () => {
  it('holds for any status of the 200s on the machine’s own loopback', async () => {
    const port = await web((_, response) => response.writeHead(204).end())
    const connections: unknown[] = []
    const original = host.connectTcp.bind(host)
    host.connectTcp = (...args) => {
      connections.push(args.slice(0, 2))
      return original(...args)
    }
    expect(await check({ http: [{ ...patient, port }] })).toEqual([])
    expect(connections).toEqual([['127.0.0.1', port]])
  })

  it('starts from the operator when a host is named', async () => {
    const port = await web((_, response) => response.end('ok'))
    host.connectTcp = async () => Promise.reject(new Error('not by way of the machine'))
    expect(await check({ http: [{ ...patient, host: '127.0.0.1', port }] })).toEqual([])
  })

  it('asks for the path with the given headers', async () => {
    const port = await web((request, response) => {
      const right =
        request.url === '/up?x=1' &&
        request.headers.host === 'hydra.example.org' &&
        request.headers['x-a'] === 'b'
      response.writeHead(right ? 200 : 404).end()
    })
    const headers = { Host: 'hydra.example.org', 'X-A': 'b' }
    expect(await check({ http: [{ ...patient, port, path: '/up?x=1', headers }] })).toEqual([])
  })

  it('does not follow a redirect, and names the status', async () => {
    const port = await web((_, response) => response.writeHead(302, { location: '/' }).end())
    const [failed] = await check({ http: [{ ...once, port }] })
    expect(failed).toMatchObject({ check: `http: http://localhost:${port}/` })
    expect(failed?.detail).toContain('the server answered with status 302')
  })

  it('waits for a service that starts slowly', async () => {
    let asked = 0
    const port = await web((_, response) => {
      asked += 1
      response.writeHead(asked < 3 ? 502 : 200).end()
    })
    expect(await check({ http: [{ ...patient, port }] })).toEqual([])
    expect(logged).toEqual([
      `healthChecks: http: http://localhost:${port}/: the server answered with status 502`,
      `healthChecks: http: http://localhost:${port}/: ok`,
    ])
  })

  it('gives up on a server that accepts and stays silent', async () => {
    const port = await listen(createTcpServer((socket) => socket.on('error', () => {})))
    const [failed] = await check({ http: [{ ...once, timeout: 0.1, port }] })
    expect(failed?.detail).toContain('no answer within 0.1 s')
  })

  it('reports that nobody listens', async () => {
    const [failed] = await check({ http: [{ ...once, port: await freePort() }] })
    expect(failed?.detail).toContain('ECONNREFUSED')
  })

  it('rejects an unknown certificate unless it is told otherwise', async () => {
    const tls = {
      key: readFileSync(join(fixtures, 'self-signed.key')),
      cert: readFileSync(join(fixtures, 'self-signed.crt')),
    }
    const port = await listen(createHttpsServer(tls, (_, response) => response.end('ok')))
    const [failed] = await check({ http: [{ ...once, scheme: 'https', port }] })
    expect(failed?.detail).toContain('self-signed certificate')
    expect(await check({ http: [{ ...patient, scheme: 'https', insecureSSL: true, port }] })).toEqual([])
  })
})

describe('the check tcp', () => {
  it('holds when somebody accepts', async () => {
    const port = await listen(createTcpServer((socket) => socket.on('error', () => {})))
    expect(
      await check({
        tcp: [
          { ...patient, port },
          { ...patient, host: '127.0.0.1', port },
        ],
      }),
    ).toEqual([])
  })

  it('fails when nobody listens', async () => {
    const port = await freePort()
    expect(await check({ tcp: [{ ...once, port }] })).toMatchObject([{ check: `tcp: localhost:${port}` }])
  })
})

describe('the check systemd', () => {
  it('holds for an active unit', async () => {
    standIn('systemctl', 'echo active')
    expect(await check({ systemd: [{ ...patient, unit: 'nginx.service' }] })).toEqual([])
  })

  it('shows the state of an inactive unit and the end of its journal', async () => {
    standIn('systemctl', 'echo failed; exit 3')
    standIn('journalctl', 'echo "journal: $*"')
    const [failed] = await check({ systemd: [{ ...once, unit: 'nginx.service' }] })
    expect(failed?.check).toBe('systemd: nginx.service')
    expect(failed?.detail).toBe(
      'systemd: nginx.service: the unit is failed (tried for 2 s)\njournal: --no-pager -n 20 -u nginx.service',
    )
  })
})

describe('runChecks', () => {
  it('runs all at the same time, and reports each failure', async () => {
    // The first check passes only because the second check runs at the same time.
    const first = { ...patient, cmd: ['test', '-e', join(folder, 'made')] }
    const second = { ...patient, cmd: ['touch', join(folder, 'made')] }
    const broken = { ...once, description: 'broken', cmd: ['false'] }
    expect(await check({ cmd: [first, second, broken] })).toMatchObject([{ check: 'broken' }])
  })

  it('ends at once when interrupted', async () => {
    const attempt = check({ cmd: [{ ...patient, total: 100_000, cmd: ['false'] }] })
    controller.abort()
    await expect(attempt).rejects.toMatchObject({ code: 'INTERRUPTED' })
  })
})
