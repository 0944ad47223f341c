import { failure } from '../../core/errors.js'
import { serviceUser } from '../../core/hydra-project-options.js'
import type { SecretNeed, TaskRun } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, fact } from '../../remote/run-script.js'
import { hydraHome, hydraUsers, noPackage, type WebEntrance } from './settings.js'
import type { HydraTable } from './unread-table.js'
import { WebSession } from './web-session.js'
import { userProgram } from './web-users.js'

/** Ways to sign in as a user who may change every project. */
export interface ProjectsLogin {
  readonly entrance: WebEntrance
  readonly package: string | undefined
  /** Address and port of hydra-server on the machine itself. */
  readonly server: { readonly address: string; readonly port: number }
  /** The administrator, if the password is known and no person must type it. */
  readonly admin: { readonly name: string; readonly password: SecretNeed } | undefined
}

/** Deadline for a login on the machine: two argon2 hashes, each of ten seconds under emulation, and Perl's start. */
const loginMs = 300_000

/**
 * Signs in as the administrator. The service user signs in instead if the password is not known or has changed in
 * Hydra.
 */
export async function signIn(
  host: Host,
  login: ProjectsLogin,
  table: HydraTable,
  run: TaskRun,
): Promise<WebSession> {
  const session = new WebSession(login.entrance, run)
  if (login.admin !== undefined) {
    const { name, password } = login.admin
    if (await session.accepts(host.machine, name, await run.secret(password.name))) {
      const { userroles } = await session.currentUser(host.machine)
      if (userroles.includes('admin')) return session
      run.log(`user '${name}' is not an administrator in Hydra; user '${serviceUser}' signs in instead`)
    } else run.log(`Hydra does not accept the ${password.what}; user '${serviceUser}' signs in instead`)
  }
  session.adopt(await serviceSession(host, login, table, run))
  return session
}

/**
 * Returns the cookie of a session of the service user. The machine generates a new password for each session, and
 * nobody keeps the password.
 */
async function serviceSession(
  host: Host,
  { package: path, server }: ProjectsLogin,
  table: HydraTable,
  run: TaskRun,
): Promise<string> {
  if (path === undefined) throw noPackage(host, 'Hydra', 'package')
  const program = await userProgram(host, path, table, run)
  const command = [
    ...['env', ...Object.entries(program.environment).map(([name, value]) => `${name}=${value}`)],
    ...[`${program.path}/bin/hydra-create-user`, serviceUser, '--full-name', 'hydra-ops'],
    ...['--password-prompt', '--wipe-roles', '--role', 'admin'],
  ]
  const question = {
    what: `sign in as Hydra's user '${serviceUser}'`,
    script: 'tasks/hydra-projects/sign-in',
    values: {
      ...{ folder: hydraHome, hydra_user: hydraUsers.hydra, user: serviceUser },
      ...{ address: server.address, port: server.port, command: command.map((word) => [word]) },
    },
    timeoutMs: loginMs,
  }
  const facts = await askMachine(host, question, run)
  const cookie = fact(facts, 'cookie')
  if (cookie !== '') return cookie
  const status = fact(facts, 'status')
  const said = fact(facts, 'answer').trim()
  const why =
    status === ''
      ? 'hydra-server does not answer'
      : `status ${status}${said === '' || said.startsWith('<') ? '' : `, ${said}`}`
  throw failure(
    'LOGIN',
    `machine '${host.machine}': user '${serviceUser}' cannot log in at ${server.address}:${server.port}: ${why}`,
    { machine: host.machine, hint: 'journalctl -u hydra-server on the machine shows more' },
  )
}
