import { connect } from 'node:net'
import type { Duplex } from 'node:stream'

/** Opens a TCP connection from the operator host. */
export function connectFromOperator(host: string, port: number, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, signal })
    socket.once('connect', () => resolve(socket))
    // The listener stays after the connection is established. The code that uses the socket handles later errors.
    socket.on('error', reject)
  })
}
