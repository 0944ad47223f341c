import * as z from 'zod'
import type { HydraUserChange, HydraUserSeen } from '../../core/hydra-user-admin.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { runScript } from '../../remote/run-script.js'
import { hydraEnvironment } from './config-text.js'
import { hydraFacts } from './package-facts.js'
import { databaseValues, hydraHome, hydraUsers } from './settings.js'

/** Place of the table of users. */
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

/** Lists the users who may log in to Hydra, by name. `absent: 'none'` returns an empty list for a missing table. */
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

/** Way to run hydra-create-user. */
export interface UserProgram {
  /** Store path of Hydra's package. */
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

/** Deadline of one change; argon2 takes 256 MiB and, under emulation, ten seconds. */
const changeMs = 300_000

/**
 * Creates or changes a user with hydra-create-user, which keeps every property that it is not told. The password goes
 * to the standard input, twice, as a person would type it.
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
