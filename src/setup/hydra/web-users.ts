import * as z from 'zod'
import type { HydraUserChange, HydraUserSeen } from '../../core/hydra-user-admin.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { runScript } from '../../remote/run-script.js'
import { hydraEnvironment } from './config-text.js'
import { hydraFacts } from './package-facts.js'
import { databaseValues, hydraHome, hydraUsers } from './settings.js'

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
    script: 'tasks/hydra-web-users/look',
    values: { ...databaseValues(database, port), absent },
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
  const command = [
    ...['env', ...Object.entries(environment).map(([variable, value]) => `${variable}=${value}`)],
    ...[`${path}/bin/hydra-create-user`, name],
    ...(fullName === undefined ? [] : ['--full-name', fullName]),
    ...(emailAddress === undefined ? [] : ['--email-address', emailAddress]),
    ...(password === undefined ? [] : ['--password-prompt']),
    ...(roles === undefined ? [] : ['--wipe-roles', ...roles.flatMap((role) => ['--role', role])]),
  ]
  const what = `${roles === undefined ? 'change' : 'make'} Hydra's user '${name}'`
  const stdin = password === undefined ? '' : `${password}\n${password}\n`
  const values = { folder: hydraHome, hydra_user: hydraUsers.hydra, command: command.map((word) => [word]) }
  const script = { what, script: 'tasks/hydra-web-users/change', values, stdin, timeoutMs: changeMs }
  await runScript(host, script, run)
}
