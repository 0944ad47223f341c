import * as z from 'zod'
import type { HydraUserChange, HydraUserSeen } from '../../core/hydra-user-admin.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, fact, runScript } from '../../remote/run-script.js'
import { hydraEnvironment } from './config-text.js'
import { hydraFacts } from './package-facts.js'
import { databaseValues, hydraHome, hydraUsers } from './settings.js'
import { type HydraTable, type Unread, unread, unreadable } from './unread-table.js'

const Rows = z.array(
  z.object({
    username: z.string(),
    fullname: z.string().nullable(),
    emailaddress: z.string().nullable(),
    canlogin: z.boolean(),
    roles: z.array(z.string()),
  }),
)

/** Lists the users of Hydra by name, and whether each user may log in. */
export async function lookAtUsers(
  host: Host,
  table: HydraTable,
  run: Run,
): Promise<readonly HydraUserSeen[] | Unread> {
  const question = {
    what: 'look at the users of Hydra',
    script: 'tasks/hydra-web-users/look',
    values: databaseValues(table.database, table.port),
  }
  const facts = await askMachine(host, question, run)
  if (!facts.has('users')) return unread(table, facts)
  return Rows.parse(JSON.parse(fact(facts, 'users'))).map((row) => ({
    name: row.username,
    fullName: row.fullname ?? '',
    emailAddress: row.emailaddress ?? '',
    roles: row.roles,
    canLogin: row.canlogin,
  }))
}

/** Lists the users. Fails if the database cannot be read: the passwords would otherwise be set again. */
export async function requireUsers(
  host: Host,
  table: HydraTable,
  run: Run,
): Promise<readonly HydraUserSeen[]> {
  const seen = await lookAtUsers(host, table, run)
  if ('unread' in seen) throw unreadable(host, 'users', seen)
  return seen
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
  { database, port }: HydraTable,
  run: Run,
): Promise<UserProgram> {
  const facts = await hydraFacts(host, path, run)
  return { path, environment: hydraEnvironment({ name: database, port }, facts, 'hydra-create-user') }
}

/** Deadline for one change; argon2 takes 256 MiB and, under emulation, ten seconds. */
const changeMs = 300_000

/**
 * Creates or changes a user with hydra-create-user, which keeps every property that its flags do not name. The
 * password goes to the standard input, twice, as a person would type it.
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
