import * as z from 'zod'
import { failure } from '../../core/errors.js'
import { type UserOptions, userSecretName } from '../../core/hydra-users.js'
import type { Run } from '../../core/run.js'
import type { SecretNeed, SetupTask, TaskRun, TaskState } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { findClusters, requireCluster } from '../postgresql/cluster.js'
import { runScript } from '../remote-script.js'
import { hydraEnvironment } from './config-text.js'
import { hydraFacts } from './package-facts.js'
import { type HydraSettings, hydraHome, hydraRole, hydraSettings, hydraUsers, noPackage } from './settings.js'
import { WebSession } from './web-session.js'

export interface HydraUser extends Omit<UserOptions, 'roles'> {
  readonly name: string
  readonly roles: readonly string[]
}

export interface UsersOptions {
  readonly settings: Pick<HydraSettings, 'url' | 'port'>
  readonly package: string | undefined
  readonly database: string
  readonly users: readonly HydraUser[]
}

/** Each takes argon2 and 256 MiB; under emulation ten seconds. */
const createMs = 300_000

/** Hydra's users: the first one and all others. Users that nobody asked for are left alone. */
export const adminUserTask: SetupTask<UsersOptions> = {
  id: 'admin-user',
  title: 'users who log in to Hydra',
  after: ['hydra', 'nginx'],
  stage: 'configure',
  debianPackages: () => [],
  wanted(machine) {
    const settings = hydraSettings(machine)
    if (settings === undefined) return undefined
    const users = usersOf(settings)
    if (users.length === 0) return undefined
    const { options, url, port } = settings
    return {
      settings: { url, port },
      package: options.package ?? undefined,
      database: options.database.name,
      users,
    }
  },
  secrets: ({ users }) => users.map(passwordOf),
  probe: probeUsers,
  apply: applyUsers,
  verify: verifyUsers,
}

/** All that the options name, the admin first. */
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

const SeenUsers = z.array(
  z.object({
    username: z.string(),
    fullname: z.string().nullable(),
    emailaddress: z.string().nullable(),
    canlogin: z.boolean(),
    roles: z.array(z.string()),
  }),
)

async function seenUsers(host: Host, port: number, options: UsersOptions, run: Run) {
  const question = {
    what: 'look at the users of Hydra',
    script: usersScript,
    args: [String(port), options.database],
  }
  const { stdout } = await runScript(host, question, run, () => {})
  return new Map(SeenUsers.parse(JSON.parse(stdout.trim() || '[]')).map((user) => [user.username, user]))
}

async function probeUsers(host: Host, options: UsersOptions, run: Run): Promise<TaskState> {
  const [cluster] = await findClusters(host, options.database, run)
  if (cluster === undefined || !cluster.online) return 'needed'
  const seen = await seenUsers(host, cluster.port, options, run)
  const wrong = options.users.flatMap((user) => {
    const found = seen.get(user.name)
    if (found === undefined) return [`user '${user.name}' does not exist`]
    return differs(user, found) ? [`user '${user.name}' differs`] : []
  })
  if (wrong.length === 0) return 'done'
  return options.users.some(({ name }) => seen.has(name)) ? { drifted: wrong.join('; ') } : 'needed'
}

function differs(user: HydraUser, found: z.infer<typeof SeenUsers>[number]): boolean {
  const roles = (all: readonly string[]) => [...new Set(all)].sort().join(' ')
  return (
    !found.canlogin ||
    (found.fullname ?? '') !== user.fullName ||
    (found.emailaddress ?? '') !== user.emailAddress ||
    roles(found.roles) !== roles(user.roles)
  )
}

async function applyUsers(host: Host, options: UsersOptions, run: TaskRun): Promise<Record<string, string>> {
  if (options.package === undefined) throw noPackage(host, 'Hydra', 'package')
  const { port } = await requireCluster(host, options.database, run)
  const facts = await hydraFacts(host, options.package, run)
  const environment = hydraEnvironment({ name: options.database, port }, facts, 'hydra-create-user')
  const seen = await seenUsers(host, port, options, run)
  for (const user of options.users) {
    const found = seen.get(user.name)
    const changed = found?.canlogin !== true || run.secretChanged(userSecretName(user.name))
    if (!changed && !differs(user, found)) continue
    run.log(
      `${found === undefined ? 'making' : 'changing'} user '${user.name}'${changed ? ', with password' : ''}`,
    )
    const password = changed ? await run.secret(userSecretName(user.name)) : undefined
    await createUser(host, { user, password, path: options.package, environment }, run)
  }
  return { users: options.users.map(({ name }) => name).join(', ') }
}

/**
 * The password goes to the standard input, twice, as somebody would type it. Without the option for it an existing
 * one is kept. Roles are made exactly the wanted ones.
 */
async function createUser(
  host: Host,
  wish: {
    readonly user: HydraUser
    readonly password: string | undefined
    readonly path: string
    readonly environment: Readonly<Record<string, string>>
  },
  run: Run,
): Promise<void> {
  const { user, password, path, environment } = wish
  const what = `make Hydra's user '${user.name}'`
  const argv = [
    ...['env', ...Object.entries(environment).map(([name, value]) => `${name}=${value}`)],
    `${path}/bin/hydra-create-user`,
    user.name,
    ...['--full-name', user.fullName, '--email-address', user.emailAddress],
    ...(password === undefined ? [] : ['--password-prompt']),
    '--wipe-roles',
    ...user.roles.flatMap((role) => ['--role', role]),
  ]
  const stdin = password === undefined ? '' : `${password}\n${password}\n`
  await runScript(host, { what, script: createScript, args: argv, stdin, timeoutMs: createMs }, run)
}

/** Logs in where users do, and reads back who they are there. */
async function verifyUsers(host: Host, options: UsersOptions, run: TaskRun): Promise<void> {
  for (const user of options.users) {
    // Somebody typed it at another time, and is not asked again only for this.
    if (user.password.prompt && !run.secretChanged(userSecretName(user.name))) continue
    const session = new WebSession(options.settings, run)
    await session.login(host.machine, user.name, await run.secret(userSecretName(user.name)))
    const { username, userroles } = await session.currentUser(host.machine)
    const missing = user.roles.filter((role) => !userroles.includes(role))
    if (username === user.name && missing.length === 0) continue
    throw failure(
      'LOGIN',
      `machine '${host.machine}': Hydra takes '${user.name}' for '${username}' with roles ${userroles.join(', ') || 'none'}`,
      {
        machine: host.machine,
      },
    )
  }
}

const usersScript = `
cd /
runuser -u ${hydraUsers.hydra} -- psql -X -p "$1" -U ${hydraRole} -d "$2" -Atc "
  select coalesce(json_agg(row_to_json(u)), '[]') from (
    select username, fullname, emailaddress, password <> '!' as canlogin,
      array(select role from userroles r where r.username = users.username order by role) as roles
    from users) u" 2> /dev/null < /dev/null || echo '[]'
`

/** From a folder that this user may enter; what it says goes to stderr, and is no secret. */
const createScript = `
cd ${hydraHome} || exit 1
exec runuser -u ${hydraUsers.hydra} -- "$@"
`
