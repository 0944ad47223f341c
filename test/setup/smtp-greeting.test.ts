import { Duplex } from 'node:stream'
import { expect, it } from 'vitest'
import { smtpGreeting } from '../../src/setup/smtp-greeting.js'

/** Creates a server that sends the parts in order, then hangs up if `end` is set. The server records its input. */
function server(parts: readonly string[], end = false) {
  const said: string[] = []
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _, done) {
      said.push(chunk.toString())
      done()
    },
  })
  for (const part of parts) stream.push(part)
  if (end) stream.push(null)
  return { said, connect: async () => stream, stream }
}

const ask = ({ connect }: { connect(): Promise<Duplex> }, signal = new AbortController().signal) =>
  smtpGreeting({ connect, signal, timeoutMs: 20_000 })

it('the greeting is its last line, however it arrives', async () => {
  const mail = server(['220-one\r\n22', '0 two ESM', 'TP\r\n'])
  expect(await ask(mail)).toBe('220 two ESMTP')
  expect(mail.said).toEqual(['QUIT\r\n'])
})

it('a refusal counts as a greeting', async () => {
  expect(await ask(server(['554 5.3.2 not now\r\n']))).toBe('554 5.3.2 not now')
})

it.each([
  ['hangs up', server([], true), 'the connection was closed without a greeting'],
  ['talks of something else', server(['x'.repeat(20_000)]), 'the program on that port is not a mail server'],
])('a server that %s is not a mail server', async (_, other, why) => {
  await expect(ask(other)).rejects.toThrow(why)
  expect(other.stream.destroyed).toBe(true)
})

it('a silent server is abandoned at the deadline', async () => {
  const silent = server([])
  const { signal } = new AbortController()
  await expect(smtpGreeting({ connect: silent.connect, signal, timeoutMs: 20 })).rejects.toThrow(
    'no greeting within 0.02 s',
  )
  expect(silent.stream.destroyed).toBe(true)
})

it('a question cancelled by the user is interrupted, and mentions no deadline', async () => {
  const controller = new AbortController()
  const silent = server([])
  const asking = ask(silent, controller.signal)
  controller.abort()
  await expect(asking).rejects.toMatchObject({ code: 'INTERRUPTED', exitCode: 130 })
})
