import type { Host } from '../core/ssh.js'
import { connect } from './connect.js'
import type { MachineSession } from './machine.js'

/**
 * Closes the connection of a machine after a look; the first later command connects again, once. The user may read the
 * plan for an hour, and an unchanged machine needs no second connection.
 */
export function restConnection(session: MachineSession): void {
  const { host } = session
  if (host === undefined) return
  host.close()
  session.host = restingHost(session, host)
}

/** Creates a stand-in for the host that connects only when a command needs a connection. */
function restingHost(session: MachineSession, seen: Host): Host {
  let connecting: Promise<Host> | undefined
  const awake = () => {
    if (connecting === undefined) {
      connecting = connect(session)
      // Other users of the session get this host until the new connection exists, and after a failure.
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
    // The session owns the new connection and closes it.
    close: () => {},
  }
  return resting
}
