import type { Duplex } from 'node:stream'
import { withDeadline } from '../core/deadline.js'
import { abortError } from '../core/errors.js'
import { onAbort } from '../core/on-abort.js'

export interface SmtpQuestion {
  connect(): Promise<Duplex>
  readonly signal: AbortSignal
  readonly timeoutMs: number
}

/** More than any server greets with. */
const mostBytes = 16 * 1024

/** The last line of what a mail server says to somebody who connects (RFC 5321, 4.2): `220 NAME ESMTP`. */
export async function smtpGreeting({ connect, signal, timeoutMs }: SmtpQuestion): Promise<string> {
  const deadline = withDeadline(signal, timeoutMs)
  try {
    const late = () =>
      deadline.expired() ? new Error(`no greeting within ${timeoutMs / 1_000} s`) : abortError(signal)
    return await greetingBefore(deadline.signal, connect, late)
  } finally {
    deadline.stop()
  }
}

async function greetingBefore(
  ended: AbortSignal,
  connect: () => Promise<Duplex>,
  late: () => Error,
): Promise<string> {
  const stream = await connect()
  const greeted = lastLine(stream)
  const giveUp = () => {
    stream.destroy(late())
  }
  const stopListening = onAbort(ended, giveUp)
  // While the connection was made.
  if (ended.aborted) giveUp()
  try {
    const greeting = await greeted
    stream.end('QUIT\r\n')
    return greeting
  } catch (error) {
    stream.destroy()
    throw error
  } finally {
    stopListening()
  }
}

/** A reply may go over several lines: the number of its last one is followed by a blank. */
function lastLine(stream: Duplex): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    // After the greeting the listeners stay: what is still said, or still breaks, concerns nobody.
    stream.on('error', reject)
    stream.on('close', () => reject(new Error('the connection was closed without a greeting')))
    stream.on('end', () => reject(new Error('the connection was closed without a greeting')))
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      const found = /^(\d{3} [^\r\n]*)\r?\n/m.exec(text)?.[1]
      if (found !== undefined) resolve(found)
      else if (text.length > mostBytes) reject(new Error('what answers is no mail server'))
    })
  })
}
