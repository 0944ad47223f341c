import { failure } from '../../core/errors.js'
import type { HydraUserSeen } from '../../core/hydra-user-admin.js'
import { type UserOptions, userSecretName } from '../../core/hydra-users.js'
import type { Run } from '../../core/run.js'
import type { SecretNeed, SetupTask, TaskRun, TaskState } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { findClusters, requireCluster } from '../postgresql/cluster.js'
import { type HydraSettings, noPackage, oneShotSettings, type WebEntrance, webEntrance } from './settings.js'
import { WebSession } from './web-session.js'
import { untilServed } from './web-start.js'
import { changeUser, lookAtUsers, requireUsers, userProgram } from './web-users.js'

export interface HydraUser extends Omit<UserOptions, 'roles'> {
  readonly name: string
  readonly roles: readonly string[]
}

export interface UsersOptions {
  readonly entrance: WebEntrance
  readonly package: string | undefined
  readonly database: string
  readonly users: readonly HydraUser[]
}

/** Hydra's users: the administrator and all others. The task does not touch users that the options do not name. */
export const adminUserTask: SetupTask<UsersOptions> = {
  id: 'admin-user',
  title: 'users who log in to Hydra',
  after: ['hydra', 'nginx'],
  stage: 'configure',
  debianPackages: () => [],
  wanted(machine) {
    const settings = oneShotSettings(machine, 'admin-user')
    if (settings === undefined) return undefined
    const users = usersOf(settings)
    if (users.length === 0) return undefined
    const { options } = settings
    return {
      entrance: webEntrance(settings),
      package: options.package ?? undefined,
      database: options.database.name,
      users,
    }
  },
  owns: () => [],
  secrets: ({ users }) => users.map(passwordOf),
  probe: probeUsers,
  apply: applyUsers,
  verify: verifyUsers,
}

/** Lists all users in the options, the admin first. */
export function usersOf({ options }: HydraSettings): HydraUser[] {
  const { admin, users } = options
  const others = Object.entries(users).map(([name, user]) => ({ name, ...user }))
  if (admin == null) return others
  const { userName, ...rest } = admin
  return [{ name: userName, ...rest }, ...others]
}

export function passwordOf({ name, password }: HydraUser): SecretNeed {
  return { name: userSecretName(name), what: `password of Hydra's user '${name}'`, source: password }
}

function byName(users: readonly HydraUserSeen[]): ReadonlyMap<string, HydraUserSeen> {
  return new Map(users.map((user) => [user.name, user]))
}

async function probeUsers(host: Host, options: UsersOptions, run: Run): Promise<TaskState> {
  const [cluster] = await findClusters(host, options.database, run)
  if (cluster === undefined || !cluster.online) return 'needed'
  const users = await lookAtUsers(host, { database: options.database, port: cluster.port }, run)
  if ('unread' in users) return 'needed'
  const seen = byName(users)
  const wrong = options.users.flatMap((user) => {
    const found = seen.get(user.name)
    if (found === undefined) return [`user '${user.name}' does not exist`]
    return differs(user, found) ? [`user '${user.name}' differs`] : []
  })
  if (wrong.length === 0) return 'done'
  return options.users.some(({ name }) => seen.has(name)) ? { drifted: wrong.join('; ') } : 'needed'
}

function differs(user: HydraUser, found: HydraUserSeen): boolean {
  const roles = (all: readonly string[]) => [...new Set(all)].sort().join(' ')
  return (
    !found.canLogin ||
    found.fullName !== user.fullName ||
    found.emailAddress !== user.emailAddress ||
    roles(found.roles) !== roles(user.roles)
  )
}

async function applyUsers(host: Host, options: UsersOptions, run: TaskRun): Promise<Record<string, string>> {
  if (options.package === undefined) throw noPackage(host, 'Hydra', 'package')
  await untilServed(host, options.entrance, run)
  const { port } = await requireCluster(host, options.database, run)
  const table = { database: options.database, port }
  const program = await userProgram(host, options.package, table, run)
  const seen = byName(await requireUsers(host, table, run))
  for (const user of options.users) {
    const found = seen.get(user.name)
    const changed = found?.canLogin !== true || run.secretChanged(userSecretName(user.name))
    if (!changed && !differs(user, found)) continue
    run.log(
      `${found === undefined ? 'making' : 'changing'} user '${user.name}'${changed ? ', with password' : ''}`,
    )
    const password = changed ? await run.secret(userSecretName(user.name)) : undefined
    const { name, fullName, emailAddress, roles } = user
    await changeUser(host, { name, fullName, emailAddress, roles, password }, program, run)
  }
  return { users: options.users.map(({ name }) => name).join(', ') }
}

/** Logs in at the users' URL, and compares each user's name and roles there. */
async function verifyUsers(host: Host, options: UsersOptions, run: TaskRun): Promise<void> {
  await untilServed(host, options.entrance, run)
  for (const user of options.users) {
    // A person typed this password earlier, and should not have to type it again for a check.
    if (user.password.prompt && !run.secretChanged(userSecretName(user.name))) continue
    const session = new WebSession(options.entrance, run)
    await session.login(host.machine, user.name, await run.secret(userSecretName(user.name)))
    const { username, userroles } = await session.currentUser(host.machine)
    const missing = user.roles.filter((role) => !userroles.includes(role))
    if (username === user.name && missing.length === 0) continue
    throw failure(
      'LOGIN',
      `machine '${host.machine}': Hydra logs '${user.name}' in as '${username}' with the roles ${userroles.join(', ') || 'none'}`,
      {
        machine: host.machine,
      },
    )
  }
}
