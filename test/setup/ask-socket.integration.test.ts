import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { askSocket, startupMessage } from '../../src/setup/ask-socket.js'

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

/** Starts a server that gets all bytes of a request at once. */
async function listen(answer: (request: Buffer, socket: Socket) => void): Promise<void> {
  const listening = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (request) => answer(request, socket))
  })
  server = listening
  await new Promise<void>((resolve) => listening.listen(path(), resolve))
}

/** Runs the program for some users, and returns its output. */
function ask(request: string, length: number, users: readonly string[], seconds = 30): Promise<string> {
  const child = spawn(
    'perl',
    ['-e', askSocket(), path(), request, String(length), String(seconds), ...users],
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
  it('gets the bytes, and its answer is told up to the wanted length', async () => {
    await listen((request, socket) => socket.end(Buffer.concat([request, Buffer.from('answer')])))
    expect(await ask('00ff', 5, [me])).toBe(`${me} 00ff616e73\n`)
  })

  it('may answer in pieces', async () => {
    await listen((_, socket) => socket.write('a', () => setTimeout(() => socket.write('b'), 50)))
    expect(await ask('00', 2, [me])).toBe(`${me} 6162\n`)
  })

  it('may hang up before the end of its answer', async () => {
    await listen((_, socket) => socket.end('a'))
    expect(await ask('00', 9, [me])).toBe(`${me} 61\n`)
  })

  it('may be missing', async () => {
    expect(await ask('00', 9, [me])).toBe(`${me} -\n`)
  })

  it('may accept the connection and never answer', async () => {
    await listen(() => {})
    expect(await ask('00', 9, [me], 1)).toBe(`${me} -\n`)
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
      expect(await ask('00', 9, [me], 1)).toBe(`${me} -\n`)
    } finally {
      full.kill()
    }
  })

  it('is not asked as a user that does not exist, while the others are asked', async () => {
    await listen((_, socket) => socket.end('a'))
    expect(await ask('00', 1, ['no-such-user', me])).toBe(`no-such-user ?\n${me} 61\n`)
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
