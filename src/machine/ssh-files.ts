import { join } from 'node:path'
import { writeIfChanged } from '../core/write-if-changed.js'
import { hostOf } from './connect.js'
import type { MachineSession } from './machine.js'

/**
 * Writes a `-F` file and known_hosts for one machine, from its open connection, for nix-copy-closure. Each machine has
 * a separate file, so that parallel jobs do not collide. Returns the path of the `-F` file.
 */
export async function writeMachineSshConfig(session: MachineSession): Promise<string> {
  const base = join(session.deployment.paths.ssh, session.machine)
  const knownHosts = `${base}.known_hosts`
  const rendered = session.ops.ssh.renderConfig([hostOf(session).target], { knownHosts })
  await writeIfChanged(knownHosts, rendered.knownHosts)
  await writeIfChanged(`${base}.config`, rendered.config)
  return `${base}.config`
}
