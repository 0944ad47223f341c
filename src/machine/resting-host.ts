import type { Host } from '../core/ssh.js'
import { connect } from './connect.js'
import type { MachineSession } from './machine.js'

/**
 * Closes the connection of a machine that was looked at. The first command that follows connects again, once: a
 * plan may be read for an hour, and a machine on which nothing is to be done needs no second connection.
 */
export function restConnection(session: MachineSession): void {
  const { host } = session
  if (host === undefined) return
  host.close()
  session.host = restingHost(session, host)
}

/** Stands for the host as it was seen, without a connection until one is needed. */
function restingHost(session: MachineSession, seen: Host): Host {
  let connecting: Promise<Host> | undefined
  const awake = () => {
    if (connecting === undefined) {
      connecting = connect(session)
      // Other users of the session come to this host until the new connection is there, and after a failure.
      session.host = resting
    }
    return connecting
  }
  const { machine, target, escalation, noisyShell } = seen
  const resting: Host = {
    machine,
    target,
    escalation,
    noisyShell,
    exec: async (...given) => (await awake()).exec(...given),
    script: async (...given) => (await awake()).script(...given),
    forwardFromRemote: async (...given) => (await awake()).forwardFromRemote(...given),
    connectTcp: async (...given) => (await awake()).connectTcp(...given),
    // The session has the connection that was made, and closes it.
    close: () => {},
  }
  return resting
}
