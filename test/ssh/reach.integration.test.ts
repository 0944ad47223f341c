import { createServer, connect as netConnect, type Server, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { paceAfter } from '../../src/ssh/banner.js'
import { freePort } from '../fixtures/free-port.js'
import { type Sshd, startSshd } from '../fixtures/sshd.js'
import { connected, never, remote, testSsh, until } from '../fixtures/sshd-session.js'

const ssh = testSsh()
let sshd: Sshd

beforeAll(async () => {
  sshd = await startSshd()
})

afterAll(() => sshd.stop())

/** Listens on 127.0.0.1 and passes each connection to the given function. */
async function serve(
  onConnection: (socket: Socket, count: number) => void,
): Promise<{ port: number; close(): void }> {
  const sockets = new Set<Socket>()
  let count = 0
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    onConnection(socket, ++count)
  })
  const port = await freePort()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return {
    port,
    close: () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** Waits for a banner that will not come; returns the error and the states that were reported meanwhile. */
async function seenAt(port: number, timeoutMs = 1_800): Promise<{ error: unknown; states: string[] }> {
  const states: string[] = []
  const error = await ssh
    .waitForBanner(sshd.target({ port }), {
      signal: never,
      timeoutMs,
      onState: (state) => states.push(state),
    })
    .catch((thrown: unknown) => thrown)
  return { error, states }
}

describe('the host key of an address', () => {
  const options = { signal: never, timeoutMs: 30_000 }

  it('is shown by the host itself, and by no other one', async () => {
    expect(await ssh.showsKey(sshd.target(), options)).toBe(true)
    const other = await startSshd()
    try {
      const { hostKey } = other.target()
      expect(await ssh.showsKey(sshd.target({ hostKey }), options)).toBe(false)
    } finally {
      await other.stop()
    }
  })

  it('is any one while none is known, but not of a port where nothing answers', async () => {
    expect(await ssh.showsKey(sshd.target({ hostKey: undefined }), options)).toBe(true)
    const port = await freePort()
    const soon = { ...options, timeoutMs: 3_000 }
    expect(await ssh.showsKey(sshd.target({ port }), soon)).toBe(false)
    expect(await ssh.showsKey(sshd.target({ port, hostKey: undefined }), soon)).toBe(false)
  })
})

/** Waits for a banner until the wait reports a state; returns that state. */
async function firstStateAt(port: number): Promise<string | undefined> {
  const enough = new AbortController()
  let first: string | undefined
  await ssh
    .waitForBanner(sshd.target({ port }), {
      signal: enough.signal,
      timeoutMs: 30_000,
      onState: (state) => {
        first ??= state
        enough.abort()
      },
    })
    .catch(() => {})
  return first
}

describe('waiting for ssh', () => {
  it('ends when sshd answers', async () => {
    await ssh.waitForBanner(sshd.target(), { signal: never, timeoutMs: 60_000 })
  })

  it('reports a closed port', async () => {
    const { error, states } = await seenAt(await freePort())
    expect(states).toEqual(['the port is closed'])
    expect(error).toMatchObject({ code: 'UNREACHABLE', exitCode: 4, machine: 'web' })
    expect(error).toHaveProperty('message', expect.stringContaining('the port is closed for 1.8 s'))
  })

  it('is not fooled by a port that accepts with nothing behind it', async () => {
    const silent = await serve(() => {})
    // The first short attempt ends after 1.2 s.
    const { error, states } = await seenAt(silent.port, 5_000)
    expect(states).toEqual(['the server accepts the connection but sends nothing'])
    expect(error).toHaveProperty(
      'message',
      expect.stringContaining('the server accepts the connection but sends nothing'),
    )
    expect(await ssh.probe(sshd.target({ port: silent.port }), { signal: never, timeoutMs: 500 })).toBe(false)
    silent.close()
  })

  it('reports an answer that is not ssh', async () => {
    const web = await serve((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    expect(await firstStateAt(web.port)).toBe('the server does not speak SSH')
    web.close()
    const shut = await serve((socket) => socket.destroy())
    expect(await firstStateAt(shut.port)).toBe('the server closes the connection at once')
    shut.close()
  })

  it('reports a name that cannot be resolved', async () => {
    const { error, states } = await (async () => {
      const seen: string[] = []
      const thrown = await ssh
        .waitForBanner(sshd.target({ host: 'no-such-host.invalid' }), {
          signal: never,
          timeoutMs: 5_000,
          onState: (state) => seen.push(state),
        })
        .catch((reason: unknown) => reason)
      return { error: thrown, states: seen }
    })()
    expect(states).toEqual(['the host name cannot be resolved'])
    expect(error).toMatchObject({ code: 'UNREACHABLE' })
  })

  it('goes on past silent connections, as QEMU leaves them while a guest boots', async () => {
    const booting = await serve((socket, count) => {
      if (count <= 4) return
      const onward = netConnect(sshd.port, '127.0.0.1')
      onward.on('error', () => socket.destroy())
      socket.pipe(onward).pipe(socket)
    })
    await ssh.waitForBanner(sshd.target({ port: booting.port }), { signal: never, timeoutMs: 60_000 })
    booting.close()
  })

  it('is patient with an sshd that takes seconds for its first word', async () => {
    const slow = await serve((socket) => {
      setTimeout(() => socket.write('a line before\r\nSSH-2.0-slow\r\n'), 2_500)
    })
    await ssh.waitForBanner(sshd.target({ port: slow.port }), { signal: never, timeoutMs: 60_000 })
    slow.close()
  })

  it('tells an sshd that is full from a service that is not ssh, and gives it a rest', async () => {
    let attempts = 0
    const full = await serve((socket) => {
      attempts += 1
      socket.end('Exceeded MaxStartups\r\n')
    })
    // The rest is longer than this wait, so only the attempts that began together come.
    expect((await seenAt(full.port, 6_000)).states).toEqual([
      'sshd accepts no more new connections (MaxStartups)',
    ])
    expect(attempts).toBeLessThanOrEqual(2)
    full.close()
  })

  it('leaves most of the logins of MaxStartups (10) to others, however long the host is at work', () => {
    for (let waited = 0; waited <= 600_000; waited += 1_000) {
      const { lastMs, pauseMs } = paceAfter(waited, true)
      // One patient attempt runs beside these.
      expect(lastMs / pauseMs).toBeLessThanOrEqual(5)
    }
    expect(paceAfter(60_000, true)).toEqual({ lastMs: 20_000, pauseMs: 7_500 })
  })

  it.each([
    // QEMU does this for a guest that has a network but no sshd yet.
    ['refused', 5, (socket: Socket) => socket.destroy()],
    ['was full', 2, (socket: Socket) => socket.end('Not allowed at this time\r\n')],
  ])(
    'does not ask an sshd that %s again while it is at work: each attempt costs it a process',
    async (_, refusals, refuse) => {
      let open = 0
      let most = 0
      const busy = await serve((socket, count) => {
        if (count <= refusals) {
          refuse(socket)
          return
        }
        open += 1
        most = Math.max(most, open)
        socket.on('close', () => {
          open -= 1
        })
        setTimeout(() => socket.write('SSH-2.0-busy\r\n'), 1_500)
      })
      await ssh.waitForBanner(sshd.target({ port: busy.port }), { signal: never, timeoutMs: 60_000 })
      expect(most).toBeLessThanOrEqual(2)
      busy.close()
    },
  )

  it('notices a guest that reboots: refusal, then silence, then an answer', async () => {
    const rebooting = await serve((socket, count) => {
      if (count <= 2) socket.destroy()
      else if (count > 4) socket.write('SSH-2.0-again\r\n')
    })
    // The limit is shorter than a patient attempt, so the wait must not stay with silent connections.
    await ssh.waitForBanner(sshd.target({ port: rebooting.port }), { signal: never, timeoutMs: 9_000 })
    rebooting.close()
  })

  it('notices an sshd that comes up', async () => {
    const port = await freePort()
    const states: string[] = []
    const waiting = ssh.waitForBanner(sshd.target({ port }), {
      signal: never,
      timeoutMs: 60_000,
      onState: (state) => states.push(state),
    })
    await until('it says that the port is closed', () => states.includes('the port is closed'))
    const late = await startSshd({ port })
    await waiting
    await late.stop()
  })

  it('ends when it is cancelled', async () => {
    const cancel = new AbortController()
    const port = await freePort()
    const waiting = ssh.waitForBanner(sshd.target({ port }), { signal: cancel.signal, timeoutMs: 60_000 })
    cancel.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'INTERRUPTED' })
  })

  it.each(['-oProxyCommand=id', '$(id)'])('refuses the host %j before any attempt', async (host) => {
    await expect(
      ssh.waitForBanner(sshd.target({ host }), { signal: never, timeoutMs: 60_000 }),
    ).rejects.toThrow('is not a host name')
  })
})

describe('a login right after the wait for ssh', () => {
  /** Lists the ports of the connections that sshd has seen, or that have logged in. */
  const ports = (log: string, what: 'Connection from' | 'Accepted publickey for') =>
    [...log.matchAll(new RegExp(`${what} .*?127\\.0\\.0\\.1 port (\\d+)`, 'g'))].map(([, port]) => port)

  it('uses the connection that showed the banner', async () => {
    const own = await startSshd()
    await ssh.waitForBanner(own.target(), { signal: never, timeoutMs: 60_000 })
    const seen = ports(own.log(), 'Connection from')
    const host = await connected(own.target(), {}, ssh)
    expect((await host.exec(['echo', 'in'], remote())).stdout).toBe('in\n')
    host.close()
    const [port, ...others] = ports(own.log(), 'Accepted publickey for')
    expect(seen).toContain(port)
    expect(others).toEqual([])
    await own.stop()
  })

  it('makes a connection of its own if a new one is asked for', async () => {
    const own = await startSshd()
    await ssh.waitForBanner(own.target(), { signal: never, timeoutMs: 60_000 })
    const seen = ports(own.log(), 'Connection from')
    const host = await connected(own.target(), { newConnection: true }, ssh)
    expect((await host.exec(['echo', 'in'], remote())).stdout).toBe('in\n')
    host.close()
    const [port = '', ...others] = ports(own.log(), 'Accepted publickey for')
    expect(seen).not.toContain(port)
    expect(others).toEqual([])
    await own.stop()
  })

  it('makes another connection when sshd has ended the first one meanwhile', async () => {
    const port = await freePort()
    const first = await startSshd({ port })
    await ssh.waitForBanner(first.target(), { signal: never, timeoutMs: 60_000 })
    await first.stop()
    const second = await startSshd({ port })
    const host = await connected(second.target(), {}, ssh)
    expect((await host.exec(['echo', 'in'], remote())).stdout).toBe('in\n')
    host.close()
    await second.stop()
  })

  it('makes a connection for each further login', async () => {
    const before = ports(sshd.log(), 'Accepted publickey for').length
    await ssh.waitForBanner(sshd.target(), { signal: never, timeoutMs: 60_000 })
    const hosts = await Promise.all([1, 2].map(() => connected(sshd.target(), {}, ssh)))
    for (const host of hosts) {
      expect((await host.exec(['echo', 'in'], remote())).stdout).toBe('in\n')
      host.close()
    }
    const used = ports(sshd.log(), 'Accepted publickey for').slice(before)
    expect(new Set(used).size).toBe(2)
  })

  it('leaves no connection behind when no login comes', async () => {
    const own = await startSshd()
    await ssh.waitForBanner(own.target(), { signal: never, timeoutMs: 60_000 })
    await until('sshd serves no connection any more', () => own.connections().length === 0)
    await own.stop()
  })
})

describe('a look at a port', () => {
  it('tells whether ssh answers there', async () => {
    expect(await ssh.probe(sshd.target(), { signal: never, timeoutMs: 30_000 })).toBe(true)
    expect(
      await ssh.probe(sshd.target({ port: await freePort() }), { signal: never, timeoutMs: 30_000 }),
    ).toBe(false)
  })
})

describe('a connection to a service that is not sshd', () => {
  const connect = (port: number) => connected(sshd.target({ port }), { timeoutMs: 1_500 })

  it('reports the greeting that it saw', async () => {
    await expect(connect(await freePort())).rejects.toThrow('the port is closed')
    const silent = await serve(() => {})
    await expect(connect(silent.port)).rejects.toThrow(
      'the server accepted the connection but sent nothing within 1.5 s',
    )
    silent.close()
    const web = await serve((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    await expect(connect(web.port)).rejects.toMatchObject({ code: 'UNREACHABLE' })
    web.close()
    const halfway = await serve((socket) => socket.write('SSH-2.0-stuck\r\n'))
    await expect(connect(halfway.port)).rejects.toThrow('within 1.5 s')
    halfway.close()
  })

  it('reports the end of the last complete attempt when time ends the next attempt', async () => {
    const dropping = await serve((socket, count) => {
      if (count === 1) socket.destroy()
    })
    await expect(connect(dropping.port)).rejects.toThrow('the server closes the connection')
    dropping.close()
  })
})
