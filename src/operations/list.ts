import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { messageOf, OpsError } from '../core/errors.js'
import type { DeploymentList, DeploymentRow } from '../core/reports.js'
import { inNaturalOrder } from '../network/natural-order.js'

/** Lists every deployment of the store, from the state alone. */
export async function listDeployments(ops: Ops): Promise<DeploymentList> {
  const deployments = inNaturalOrder((await ops.store.list()).map(rowOf), ({ name, uuid }) => name ?? uuid)
  const problems = (await ops.store.problems()).map((error) => ({
    message: messageOf(error),
    hint: error instanceof OpsError ? error.hint : undefined,
  }))
  return { deployments, problems }
}

function rowOf(record: DeploymentRecord): DeploymentRow {
  const machines = Object.values(record.machines)
  return {
    uuid: record.uuid,
    name: record.name,
    description: record.description,
    machines: machines.length,
    types: [...new Set(machines.map((machine) => machine.provider))].sort(),
  }
}

export interface Elsewhere {
  readonly user: string
  readonly deployments: number
  /** Command line that lists the deployments. */
  readonly command: string
}

/**
 * Tells root where the lab is: root has no libvirt session, so the lab belongs to the user hydra-lab. Returns
 * `undefined` if there is no lab, or if its state is already in use.
 */
export function labElsewhere(
  root: string,
  passwd = '/etc/passwd',
  uid = process.getuid?.(),
): Elsewhere | undefined {
  if (uid !== 0) return undefined
  const user = 'hydra-lab'
  const home = homeOf(user, passwd)
  if (home === undefined) return undefined
  const state = join(home, '.local', 'state', 'hydra-ops')
  if (state === root || !existsSync(join(state, 'deployments'))) return undefined
  const deployments = readdirSync(join(state, 'deployments')).length
  if (deployments === 0) return undefined
  // The program from `npm run lab` runs as the lab's user. Root can at least read the state without the program.
  const own = join(home, 'bin', 'hydra-ops')
  const command = existsSync(own) ? `runuser -u ${user} -- ${own} list` : `hydra-ops list --state ${state}`
  return { user, deployments, command }
}

function homeOf(user: string, passwd: string): string | undefined {
  if (!existsSync(passwd)) return undefined
  const line = readFileSync(passwd, 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`${user}:`))
  return line?.split(':')[5]
}
