import { failure } from '../../core/errors.js'
import type { HydraUserAdmin } from '../../core/hydra-user-admin.js'
import type { TaskMachine } from '../../core/setup-task.js'
import { requireCluster } from '../postgresql/cluster.js'
import { noPackage, oneShotSettings } from './settings.js'
import { changeUser, requireUsers, userProgram } from './web-users.js'
import { usersOf } from './web-users-task.js'

/**
 * Returns access to the users of a machine's Hydra; `undefined` if the machine has no Hydra. `deployed` is the
 * package that runs there. The expression may name a package that the machine does not have yet.
 */
export function hydraUserAdmin(
  machine: TaskMachine,
  deployed: string | undefined,
): HydraUserAdmin | undefined {
  const settings = oneShotSettings(machine, 'admin-user')
  if (settings === undefined) return undefined
  const database = settings.options.database.name
  const path = deployed ?? settings.options.package ?? undefined
  return {
    named: new Map(usersOf(settings).map(({ name, password }) => [name, password])),
    list: async (host, run) => {
      const { port, online } = await requireCluster(host, database, run)
      if (online) return requireUsers(host, { database, port }, run)
      throw failure('NO_CLUSTER', `machine '${host.machine}': PostgreSQL is not running`, {
        machine: host.machine,
        hint: 'hydra-ops deploy starts PostgreSQL',
      })
    },
    change: async (host, change, run) => {
      if (path === undefined) throw noPackage(host, 'Hydra', 'package')
      const { port } = await requireCluster(host, database, run)
      await changeUser(host, change, await userProgram(host, path, { database, port }, run), run)
    },
  }
}
