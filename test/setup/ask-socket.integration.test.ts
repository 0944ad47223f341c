import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  askSocket,
  postgresqlFarewell,
  postgresqlWelcome,
  startupMessage,
} from '../../src/setup/ask-socket.js'
import { PostgresqlCluster } from '../fixtures/postgresql.js'

const me = userInfo().username
let folder: string
let server: Server | undefined

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-socket-'))
})
afterEach(() => {
  server?.close()
  rmSync(folder, { recursive: true, force: true })
})

const path = () => join(folder, 'socket')

/** Starts a server that receives all bytes of a request at once. */
async function listen(answer: (request: Buffer, socket: Socket) => void): Promise<void> {
  const listening = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (request) => answer(request, socket))
  })
  server = listening
  await new Promise<void>((resolve) => listening.listen(path(), resolve))
}

interface Question {
  readonly request: string
  /** The answer after which the farewell is sent. */
  readonly wanted: string
  readonly farewell?: string
  readonly socket?: string
  readonly users?: readonly string[]
  readonly seconds?: number
}

/** Runs the program for some users, and returns its output. */
function ask({
  request,
  wanted,
  farewell = '',
  socket = path(),
  users = [me],
  seconds = 30,
}: Question): Promise<string> {
  const child = spawn(
    'perl',
    ['-e', askSocket(), socket, request, wanted, farewell, String(seconds), ...users],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  return new Promise((resolve, reject) => child.once('error', reject).once('close', () => resolve(output)))
}

describe('a socket asked as several users', () => {
  it('gets the bytes, and its answer is shown up to the wanted length', async () => {
    await listen((request, socket) => socket.end(Buffer.concat([request, Buffer.from('answer')])))
    expect(await ask({ request: '00ff', wanted: '0102030405' })).toBe(`${me} 00ff616e73\n`)
  })

  it('may answer in pieces', async () => {
    await listen((_, socket) => socket.write('a', () => setTimeout(() => socket.write('b'), 50)))
    expect(await ask({ request: '00', wanted: '6162' })).toBe(`${me} 6162\n`)
  })

  it('may hang up before the end of its answer', async () => {
    await listen((_, socket) => socket.end('a'))
    expect(await ask({ request: '00', wanted: '616263' })).toBe(`${me} 61\n`)
  })

  it('hears the farewell only after the wanted answer, and then the end of the bytes', async () => {
    const heard: string[] = []
    const ended = new Promise<void>((resolve) => {
      let conversations = 0
      void listen((request, socket) => {
        socket.on('data', (bytes: Buffer) => heard.push(bytes.toString('hex')))
        socket.on('end', () => (++conversations === 2 ? resolve() : undefined))
        socket.write(request)
      })
    })
    expect(await ask({ request: '61', wanted: '61', farewell: 'ff' })).toBe(`${me} 61\n`)
    expect(await ask({ request: '62', wanted: '61', farewell: 'ff' })).toBe(`${me} 62\n`)
    await ended
    expect(heard).toEqual(['ff'])
  })

  it('sees no reset of its connection: all of its bytes are read before the end', async () => {
    const faults: string[] = []
    const closed = new Promise<void>((resolve) => {
      void listen((_, socket) => {
        socket.on('error', ({ message }) => faults.push(message)).on('close', () => resolve())
        socket.write('answer', () => socket.end(Buffer.alloc(300_000)))
      })
    })
    expect(await ask({ request: '00', wanted: '61' })).toBe(`${me} 61\n`)
    await closed
    expect(faults).toEqual([])
  })

  it('may answer and never end: the answer counts', async () => {
    await listen((_, socket) => socket.write('a'))
    expect(await ask({ request: '00', wanted: '61', seconds: 3 })).toBe(`${me} 61\n`)
  })

  it('may end no answer: its beginning does not count', async () => {
    await listen((_, socket) => socket.write('a'))
    expect(await ask({ request: '00', wanted: '6162', seconds: 1 })).toBe(`${me} !\n`)
  })

  it('may be missing', async () => {
    expect(await ask({ request: '00', wanted: '61' })).toBe(`${me} -\n`)
  })

  it('may accept the connection and never answer', async () => {
    await listen(() => {})
    expect(await ask({ request: '00', wanted: '61', seconds: 1 })).toBe(`${me} !\n`)
  })

  it('may hold the connection without accepting it', async () => {
    const full = spawn(
      'perl',
      [
        '-MSocket',
        '-e',
        `socket my $server, PF_UNIX, SOCK_STREAM, 0; bind $server, pack_sockaddr_un($ARGV[0]); listen $server, 0;
socket my $client, PF_UNIX, SOCK_STREAM, 0; connect $client, pack_sockaddr_un($ARGV[0]); $| = 1; print "full"; sleep 60`,
        path(),
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    try {
      await once(full.stdout, 'data')
      expect(await ask({ request: '00', wanted: '61', seconds: 1 })).toBe(`${me} !\n`)
    } finally {
      full.kill()
    }
  })

  it('leaves a part of the time to each of the later users', async () => {
    let asked = 0
    await listen((_, socket) => (++asked === 1 ? undefined : socket.end('a')))
    expect(await ask({ request: '00', wanted: '61', seconds: 4, users: [me, me] })).toBe(
      `${me} !\n${me} 61\n`,
    )
  })

  it('is not asked as a user that does not exist, while the others are asked', async () => {
    await listen((_, socket) => socket.end('a'))
    expect(await ask({ request: '00', wanted: '61', users: ['no-such-user', me] })).toBe(
      `no-such-user ?\n${me} 61\n`,
    )
  })
})

describe('a real PostgreSQL that is asked by its socket', () => {
  it('lets a user in, and writes nothing about it into its log', async () => {
    const cluster = new PostgresqlCluster(folder)
    try {
      const before = readFileSync(join(folder, 'log'), 'utf8')
      const socket = join(folder, `.s.PGSQL.${cluster.port}`)
      const question = { socket, wanted: postgresqlWelcome, farewell: postgresqlFarewell }
      expect(await ask({ ...question, request: startupMessage(me, 'postgres') })).toBe(
        `${me} ${postgresqlWelcome}\n`,
      )
      // The server refuses this user, so the farewell is not sent.
      expect(await ask({ ...question, request: startupMessage('nobody', 'postgres') })).toMatch(
        new RegExp(`^${me} 45`),
      )
      // A session writes to the log before the session disappears from pg_stat_activity.
      const sessions = `select count(*) from pg_stat_activity
        where backend_type = 'client backend' and pid <> pg_backend_pid()`
      await expect.poll(() => cluster.sql(sessions), { timeout: 30_000 }).toBe('0')
      const said = readFileSync(join(folder, 'log'), 'utf8').slice(before.length)
      expect(said).toContain('Peer authentication failed for user "nobody"')
      expect(said).not.toMatch(/reset by peer|unexpected EOF|could not (receive|send)|unexpected message/)
    } finally {
      cluster.stop()
    }
  })
})

describe('the first message of a client of PostgreSQL', () => {
  it('has its length, the version of the protocol, and the role and the database', () => {
    const message = Buffer.from(startupMessage('hydra', 'ci'), 'hex')
    expect(message.readInt32BE(0)).toBe(message.length)
    expect([...message.subarray(4, 8)]).toEqual([0, 3, 0, 0])
    expect(message.subarray(8).toString()).toBe('user\0hydra\0database\0ci\0\0')
  })
})
