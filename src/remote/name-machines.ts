import type { MachineName } from '../core/names.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { runScript } from './run-script.js'

/** Machine in the LAN that other machines find by name. */
export interface LanHost {
  readonly address: string
  readonly name: MachineName
}

const nameMs = 120_000

/** Writes the names of the other machines into /etc/hosts, which the first activation replaces. */
export async function nameMachines(host: Host, hosts: readonly LanHost[], run: Run): Promise<void> {
  const lines = hosts.map(({ address, name }) => `${address} ${name}`)
  const values = { file: '/etc/hosts', hosts: lines }
  const what = 'write the names of the other machines'
  await runScript(host, { what, script: 'name-machines', values, timeoutMs: nameMs }, run)
}
