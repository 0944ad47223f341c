import * as z from 'zod'
import type { HydraUserChange, HydraUserSeen } from '../../core/hydra-user-admin.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { runScript } from '../../remote/run-script.js'
import { hydraEnvironment } from './config-text.js'
import { hydraFacts } from './package-facts.js'
import { hydraHome, hydraRole, hydraUsers } from './settings.js'

/** Where the users are. */
export interface UsersTable {
  readonly database: string
  readonly port: number
}

const Rows = z.array(
  z.object({
    username: z.string(),
    fullname: z.string().nullable(),
    emailaddress: z.string().nullable(),
    canlogin: z.boolean(),
    roles: z.array(z.string()),
  }),
)

/** Who may log in to Hydra, by name. With `absent: 'none'` there is nobody where the table cannot be read (yet). */
export async function readUsers(
  host: Host,
  { database, port }: UsersTable,
  { absent }: { readonly absent: 'none' | 'error' },
  run: Run,
): Promise<HydraUserSeen[]> {
  const question = {
    what: 'look at the users of Hydra',
    script: usersScript,
    args: [String(port), database, absent],
  }
  const { stdout } = await runScript(host, question, run, () => {})
  return Rows.parse(JSON.parse(stdout.trim() || '[]')).map((row) => ({
    name: row.username,
    fullName: row.fullname ?? '',
    emailAddress: row.emailaddress ?? '',
    roles: row.roles,
    canLogin: row.canlogin,
  }))
}

/** A way to hydra-create-user. */
export interface UserProgram {
  /** Hydra's package. */
  readonly path: string
  readonly environment: Readonly<Record<string, string>>
}

export async function userProgram(
  host: Host,
  path: string,
  { database, port }: UsersTable,
  run: Run,
): Promise<UserProgram> {
  const facts = await hydraFacts(host, path, run)
  return { path, environment: hydraEnvironment({ name: database, port }, facts, 'hydra-create-user') }
}

/** Each takes argon2 and 256 MiB; under emulation ten seconds. */
const changeMs = 300_000

/**
 * Makes or changes a user by hydra-create-user, which leaves alone what it is not told. The password goes to the
 * standard input, twice, as somebody would type it.
 */
export async function changeUser(
  host: Host,
  change: HydraUserChange,
  { path, environment }: UserProgram,
  run: Run,
): Promise<void> {
  const { name, fullName, emailAddress, roles, password } = change
  const argv = [
    ...['env', ...Object.entries(environment).map(([variable, value]) => `${variable}=${value}`)],
    ...[`${path}/bin/hydra-create-user`, name],
    ...(fullName === undefined ? [] : ['--full-name', fullName]),
    ...(emailAddress === undefined ? [] : ['--email-address', emailAddress]),
    ...(password === undefined ? [] : ['--password-prompt']),
    ...(roles === undefined ? [] : ['--wipe-roles', ...roles.flatMap((role) => ['--role', role])]),
  ]
  const what = `${roles === undefined ? 'change' : 'make'} Hydra's user '${name}'`
  const stdin = password === undefined ? '' : `${password}\n${password}\n`
  await runScript(host, { what, script: changeScript, args: argv, stdin, timeoutMs: changeMs }, run)
}

const usersScript = `
cd /
read_users() {
  runuser -u ${hydraUsers.hydra} -- psql -X -p "$1" -U ${hydraRole} -d "$2" -Atc "
  select coalesce(json_agg(row_to_json(u) order by u.username), '[]') from (
    select username, fullname, emailaddress, password <> '!' as canlogin,
      array(select role from userroles r where r.username = users.username order by role) as roles
    from users) u" < /dev/null
}
if [ "$3" = none ]; then read_users "$@" 2> /dev/null || echo '[]'; else read_users "$@"; fi
`

/** From a folder that this user may enter; what it says goes to stderr, and is no secret. */
const changeScript = `
cd ${hydraHome} || exit 1
exec runuser -u ${hydraUsers.hydra} -- "$@"
`
