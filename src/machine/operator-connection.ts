import { connect } from 'node:net'
import type { Duplex } from 'node:stream'

/** A TCP connection from the operator host. */
export function connectFromOperator(host: string, port: number, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, signal })
    socket.once('connect', () => resolve(socket))
    // Stays after the connection is made: what happens to it then is seen by whoever uses it.
    socket.on('error', reject)
  })
}
