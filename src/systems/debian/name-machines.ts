import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { runScript } from '../../remote/run-script.js'
import type { LanHost } from '../system.js'

const nameMs = 120_000

/** Writes the names of the other machines into /etc/hosts, in lines that the first activation replaces. */
export async function nameMachines(host: Host, hosts: readonly LanHost[], run: Run): Promise<void> {
  const lines = hosts.map(({ address, name }) => `${address} ${name}`)
  const values = { file: '/etc/hosts', hosts: lines }
  const what = 'write the names of the other machines'
  await runScript(host, { what, script: 'debian/name-machines', values, timeoutMs: nameMs }, run)
}
