import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connectTimeoutMs, readSshOptions } from '../../src/core/ssh-options.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { connect } from '../../src/machine/connect.js'
import { createSsh } from '../../src/ssh/create-ssh.js'
import { fakeTarget } from '../fakes/fake-target.js'
import { nixosSession } from '../fakes/nixos-session.js'
import { freePort } from '../fixtures/free-port.js'
import { makeKey } from '../fixtures/sshd.js'

let silent: Server
let port: number
let folder: string
let identity: string
const sockets: Socket[] = []
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-timeout-'))
  identity = makeKey(folder, 'login')
  port = await freePort()
  silent = createServer((socket) => sockets.push(socket))
  await new Promise<void>((resolve) => silent.listen(port, '127.0.0.1', resolve))
})
afterAll(() => {
  for (const socket of sockets) socket.destroy()
  silent.close()
  rmSync(folder, { recursive: true, force: true })
})

describe('ConnectTimeout in deployment.sshOptions', () => {
  it('is the deadline of a login to a machine that should be up', async () => {
    const ssh = createSsh({ local: localCommands, env: {}, homeDir: tmpdir() })
    const target = fakeTarget('web', {
      port,
      hostKey: readFileSync(`${identity}.pub`, 'utf8').split(' ', 2).join(' '),
      identityFiles: [identity],
      sshOptions: ['-o', 'ConnectTimeout=1'],
    })
    const { session, ops } = await nixosSession(ssh, target)
    try {
      await expect(connect(session)).rejects.toThrow(/within 1 s/)
    } finally {
      ops.cleanup()
    }
  })

  it.each([
    ['ConnectTimeout=90', 90_000],
    ['ConnectTimeout 2m', 120_000],
    ['connecttimeout=1h30m', 5_400_000],
    ['ConnectTimeout=4w', 2 ** 31 - 1],
    ['ConnectTimeout=none', undefined],
    ['Compression=yes', undefined],
  ])('is read from %j', (option, ms) => {
    expect(connectTimeoutMs(['-o', option])).toBe(ms)
  })

  it.each(['soon', '0', '-5', '1x'])('is refused if it is %j', (value) => {
    expect(readSshOptions(['-o', `ConnectTimeout=${value}`]).refused).toEqual([
      `'${value}' is not a time; write ConnectTimeout in seconds`,
    ])
  })
})
