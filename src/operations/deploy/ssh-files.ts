import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Link } from './job.js'
import { hostOf } from './reach.js'

/**
 * Writes a `-F` file and known_hosts for one machine, from the connection that was just made, for
 * nix-copy-closure; one file a machine, so that parallel jobs do not meet. Returns the `-F` file.
 */
export function writeMachineSshConfig(link: Link): string {
  const folder = join(dirname(link.session.paths.sshConfig), 'ssh')
  const file = join(folder, `${link.machine}.config`)
  const knownHosts = join(folder, `${link.machine}.known_hosts`)
  const text = link.ops.ssh.renderConfig([hostOf(link).target], { knownHosts })
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  writeFileSync(file, text.config, { mode: 0o600 })
  writeFileSync(knownHosts, text.knownHosts, { mode: 0o600 })
  return file
}
