import { connect as connectTcp, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { AcceptConnection, Client, RejectConnection, TcpConnectionDetails } from 'ssh2'
import { failure, messageOf } from '../core/errors.js'
import type { SshTarget } from '../core/ssh.js'
import { bounded } from './bounded.js'

/** Implements `Host.connectTcp`. */
export async function connectFromRemote(
  client: Client,
  target: SshTarget,
  to: { readonly host: string; readonly port: number },
  options: { readonly signal: AbortSignal; readonly timeoutMs: number },
): Promise<Duplex> {
  const { machine } = target
  const where = `${to.host}:${to.port}`
  const opening = new Promise<Duplex>((resolve, reject) => {
    client.forwardOut('127.0.0.1', 0, to.host, to.port, (error, stream) => {
      if (error) {
        reject(
          failure('CONNECT', `machine '${machine}': cannot connect to ${where} (${messageOf(error)})`, {
            machine,
          }),
        )
        return
      }
      // A half-closed stream would otherwise stay open forever.
      stream.on('end', () => stream.end())
      resolve(stream)
    })
  })
  try {
    return await bounded(opening, options, {
      what: `connect to ${where}`,
      late: () =>
        failure(
          'CONNECT',
          `machine '${machine}': ${where} did not answer within ${options.timeoutMs / 1000} s`,
          { machine },
        ),
    })
  } catch (error) {
    void opening.then(
      (late) => late.destroy(),
      () => {},
    )
    throw error
  }
}

/** The time for the machine to listen, or to stop listening. */
const forwardMs = 20_000

/** Implements `Host.forwardFromRemote`. */
export async function forwardFromRemote(
  client: Client,
  target: SshTarget,
  operatorPort: number,
  options: { readonly signal: AbortSignal },
): Promise<{ port: number; close(): Promise<void> }> {
  const { machine } = target
  const sockets = new Set<Socket>()
  let ours: number | undefined
  const carry = (details: TcpConnectionDetails, accept: AcceptConnection, _reject: RejectConnection) => {
    if (details.destPort !== ours) return
    const stream = accept()
    const socket = connectTcp({ host: '127.0.0.1', port: operatorPort, noDelay: true })
    sockets.add(socket)
    socket.on('close', () => {
      sockets.delete(socket)
      stream.destroy()
    })
    socket.on('error', () => stream.destroy())
    stream.on('error', () => socket.destroy())
    stream.on('close', () => socket.end())
    stream.pipe(socket).pipe(stream)
  }
  client.on('tcp connection', carry)
  const stop = () => {
    client.removeListener('tcp connection', carry)
    for (const socket of sockets) socket.destroy()
  }
  const listening = new Promise<number>((resolve, reject) => {
    client.forwardIn('127.0.0.1', 0, (error, port) => {
      if (error) {
        reject(
          failure('FORWARD', `machine '${machine}': sshd does not forward ports (${messageOf(error)})`, {
            machine,
            hint: "check 'AllowTcpForwarding' in the sshd_config of the machine",
          }),
        )
      } else resolve(port)
    })
  })
  try {
    const port = await bounded(
      listening,
      { ...options, timeoutMs: forwardMs },
      {
        what: 'forward a port',
        late: () =>
          failure('FORWARD', `machine '${machine}': sshd did not answer within ${forwardMs / 1000} s`, {
            machine,
          }),
      },
    )
    ours = port
    return {
      port,
      close: () =>
        new Promise((resolve) => {
          stop()
          const late = setTimeout(resolve, forwardMs)
          const done = () => {
            clearTimeout(late)
            resolve()
          }
          try {
            client.unforwardIn('127.0.0.1', port, done)
          } catch {
            // sshd stops listening by itself when the connection is lost.
            done()
          }
        }),
    }
  } catch (error) {
    stop()
    throw error
  }
}
