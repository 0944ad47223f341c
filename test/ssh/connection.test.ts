import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import type { Client, ClientChannel } from 'ssh2'
import { describe, expect, it } from 'vitest'
import { Connection } from '../../src/ssh/connection.js'
import { launchAsLoginUser } from '../../src/ssh/sudo.js'
import { sshTarget } from '../fixtures/sshd-target.js'

const options = { signal: new AbortController().signal, timeoutMs: 5_000, what: 'try something' }

/** Creates a connection whose far side acts at once, in the tick in which the channel opens. */
function connectionThat(happens: (channel: PassThrough) => void): Connection {
  const client = Object.assign(new EventEmitter(), {
    exec: (_command: string, opened: (error: undefined, channel: ClientChannel) => void) => {
      const channel = Object.assign(new PassThrough(), { stderr: new PassThrough(), close: () => {} })
      opened(undefined, channel as unknown as ClientChannel)
      happens(channel)
    },
    // A real client emits this event later, and the connection begins to listen after `end`.
    end: () => queueMicrotask(() => client.emit('close')),
  })
  return new Connection(client as unknown as Client, sshTarget())
}

describe('a connection', () => {
  it('sees a status that arrives in the very packet that opens the channel', async () => {
    const connection = connectionThat((channel) => {
      channel.emit('exit', 1)
      channel.emit('close')
    })
    const { outcome } = await connection.run('exec true', launchAsLoginUser, options)
    expect(outcome).toEqual({ kind: 'not begun', code: 1, said: '', shellWorks: false })
  })

  it('counts as lost when it closes at once', async () => {
    const connection = connectionThat((channel) => channel.emit('close'))
    const { outcome } = await connection.run('exec true', launchAsLoginUser, options)
    expect(outcome).toEqual({ kind: 'lost', stdout: '', stderr: '' })
  })

  it('runs nothing more once it is closed', async () => {
    const connection = connectionThat(() => {})
    connection.close()
    await expect(connection.run('exec true', launchAsLoginUser, options)).rejects.toMatchObject({
      code: 'UNREACHABLE',
      message: "machine 'web': the connection to 192.0.2.1:22 is lost (closed by us)",
    })
  })
})
