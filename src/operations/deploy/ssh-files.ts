import { dirname, join } from 'node:path'
import { writeIfChanged } from '../write-if-changed.js'
import type { Link } from './job.js'
import { hostOf } from './reach.js'

/**
 * Writes a `-F` file and known_hosts for one machine, from the connection that was just made, for
 * nix-copy-closure; one file a machine, so that parallel jobs do not meet. Returns the `-F` file.
 */
export function writeMachineSshConfig(link: Link): string {
  const base = join(dirname(link.session.paths.sshConfig), 'ssh', link.machine)
  const knownHosts = `${base}.known_hosts`
  const rendered = link.ops.ssh.renderConfig([hostOf(link).target], { knownHosts })
  writeIfChanged(knownHosts, rendered.knownHosts)
  writeIfChanged(`${base}.config`, rendered.config)
  return `${base}.config`
}
