import type { Duplex } from 'node:stream'
import { type Bounds, withinDeadline } from '../core/deadline.js'
import { throwIfAborted } from '../core/errors.js'
import { onAbort } from '../core/on-abort.js'

export interface SmtpQuestion extends Bounds {
  /** Opens the connection within these bounds. */
  connect(bounds: Bounds): Promise<Duplex>
}

/** Maximum number of bytes; no server's greeting is that long. */
const mostBytes = 16 * 1024

/** Reads the last line of a mail server's greeting (RFC 5321, 4.2): `220 NAME ESMTP`. */
export function smtpGreeting({ connect, signal, timeoutMs }: SmtpQuestion): Promise<string> {
  return withinDeadline(signal, timeoutMs, async (deadline) => {
    try {
      return await greetingOf(await connect({ signal: deadline.signal, timeoutMs }), deadline.signal)
    } catch (error) {
      throwIfAborted(signal)
      throw deadline.expired() ? new Error(`no greeting within ${timeoutMs / 1_000} s`) : error
    }
  })
}

async function greetingOf(stream: Duplex, ended: AbortSignal): Promise<string> {
  const greeted = lastLine(stream)
  const stopListening = onAbort(ended, () => {
    stream.destroy()
  })
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

/** Reads the last line of a reply, in which a space follows the status code. */
function lastLine(stream: Duplex): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    // The listeners stay after the greeting, so that later errors have a handler.
    stream.on('error', reject)
    stream.on('close', () => reject(new Error('the connection was closed without a greeting')))
    stream.on('end', () => reject(new Error('the connection was closed without a greeting')))
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      const found = /^(\d{3} [^\r\n]*)\r?\n/m.exec(text)?.[1]
      if (found !== undefined) resolve(found)
      else if (text.length > mostBytes) reject(new Error('the program on that port is not a mail server'))
    })
  })
}
