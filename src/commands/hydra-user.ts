import type { Command } from 'commander'
import { usageError } from '../core/errors.js'
import type { PasswordRequest } from '../operations/hydra-password.js'
import type { HydraUserRow } from '../operations/hydra-users.js'
import type { Ui } from '../ui/ui.js'
import { commonFlags, example } from './flags.js'
import { noSuchAction } from './no-such-action.js'
import type { Cli, CommonFlags } from './verb.js'

interface HydraFlags extends CommonFlags {
  readonly machine?: string | undefined
}

interface PasswordFlags {
  readonly passwordFile?: string | undefined
  readonly passwordStdin?: boolean | undefined
  readonly generate?: boolean | undefined
}

interface AddFlags extends HydraFlags, PasswordFlags {
  readonly fullName?: string | undefined
  readonly email?: string | undefined
  readonly role?: string[] | undefined
}

export function registerHydraUser(command: Command, cli: Cli): void {
  command
    .description('the users of Hydra: list, add, set-password, password')
    .argument('[action]', 'the action (default: list the users)')
  hydraFlags(command)
  example(command, 'hydra-ops hydra user list -d lab', 'hydra-ops hydra user set-password alice -d lab')
  command.action((action: string | undefined, _: HydraFlags, self: Command) => {
    if (action !== undefined) throw noSuchAction(action, command)
    return list(cli, self.optsWithGlobals())
  })
  registerList(command.command('list'), cli)
  registerAdd(command.command('add'), cli)
  registerSetPassword(command.command('set-password'), cli)
  const password = command.command('password').description('show a generated password')
  password.argument('<user>', 'name of the user')
  commonFlags(password, { json: true })
  example(password, 'hydra-ops hydra user password alice -d lab')
  password.action((user: string, _: CommonFlags, self: Command) =>
    showPassword(cli, user, self.optsWithGlobals()),
  )
}

export function showPassword(cli: Cli, user: string, flags: CommonFlags): Promise<void> {
  return cli.run(flags, async (ops, ui) => {
    const { generatedPassword } = await import('../operations/hydra.js')
    const password = await generatedPassword(ops, flags.deployment, user)
    if (ui.json) ui.printJson({ user, password })
    else ui.print(password)
    return 0
  })
}

function registerList(command: Command, cli: Cli): void {
  command.description('list the users, and show which of them the network expression names')
  hydraFlags(command)
  example(command, 'hydra-ops hydra user list -d lab')
  command.action((_, self: Command) => list(cli, self.optsWithGlobals()))
}

function list(cli: Cli, flags: HydraFlags): Promise<void> {
  return cli.run(flags, async (ops, ui) => {
    const { listHydraUsers } = await import('../operations/hydra-users.js')
    const { deployment, machine } = flags
    const users = await listHydraUsers(ops, { deployment, machine })
    await ui.settle()
    if (ui.json) ui.printJson(users)
    else ui.print((await import('../ui/list-view.js')).hydraUsersView(users, ui.plain))
    return 0
  })
}

function registerAdd(command: Command, cli: Cli): void {
  command
    .description('create a user that the network expression does not name')
    .argument('<name>', 'name of the user')
    .option('--full-name <text>', 'full name, shown on pages and in mails')
    .option('--email <address>', 'mail address for notifications')
    .option(
      '--role <role...>',
      'roles of the user: admin, create-projects, restart-jobs, bump-to-front, cancel-build, eval-jobset',
    )
  passwordFlags(command)
  hydraFlags(command)
  example(
    command,
    "hydra-ops hydra user add bob --full-name 'Bob R.' --email bob@example.org --role restart-jobs -d lab",
    'pass hydra/bob | hydra-ops hydra user add bob --password-stdin -d lab',
    'hydra-ops hydra user add bob --generate -d lab',
  )
  command.action((name: string, _: AddFlags, self: Command) => {
    const flags: AddFlags = self.optsWithGlobals()
    return cli.run(flags, async (ops, ui) => {
      const { addHydraUser } = await import('../operations/hydra-users.js')
      const { deployment, machine, fullName = '', email: emailAddress = '', role: roles = [] } = flags
      const password = passwordOf(flags)
      const request = { deployment, machine, name, fullName, emailAddress, roles, password }
      await show(ui, await addHydraUser(ops, request), `created user '${name}'`, password)
      return 0
    })
  })
}

function registerSetPassword(command: Command, cli: Cli): void {
  command.description('change the password of a user').argument('<name>', 'name of the user')
  passwordFlags(command)
  hydraFlags(command)
  example(
    command,
    'hydra-ops hydra user set-password alice -d lab',
    'hydra-ops hydra user set-password alice --password-file ./alice.password -d lab',
  )
  command.action((name: string, _: HydraFlags & PasswordFlags, self: Command) => {
    const flags: HydraFlags & PasswordFlags = self.optsWithGlobals()
    return cli.run(flags, async (ops, ui) => {
      const { setHydraPassword } = await import('../operations/hydra-users.js')
      const { deployment, machine } = flags
      const password = passwordOf(flags)
      const user = await setHydraPassword(ops, { deployment, machine, name, password })
      await show(ui, user, `set the password of user '${name}'`, password)
      return 0
    })
  })
}

async function show(ui: Ui, user: HydraUserRow, what: string, password: PasswordRequest): Promise<void> {
  await ui.settle()
  if (ui.json) ui.printJson(user)
  const where =
    password.kind === 'generate' ? `; hydra-ops hydra password ${user.name} shows the password` : ''
  ui.remark(`${what} on machine '${user.machine}'${where}`)
}

function hydraFlags(command: Command): void {
  command.option(
    '--machine <name>',
    'machine that runs Hydra (default: the only such machine of the deployment)',
  )
  commonFlags(command, { json: true, plain: true })
}

function passwordFlags(command: Command): void {
  command
    .option('--password-file <file>', 'read the password from a file (default: ask for the password twice)')
    .option('--password-stdin', 'read the password from standard input')
    .option('--generate', 'generate a password, which hydra-ops hydra password shows')
}

function passwordOf({ passwordFile, passwordStdin, generate }: PasswordFlags): PasswordRequest {
  const wishes: PasswordRequest[] = [
    ...(passwordFile === undefined ? [] : [{ kind: 'file', path: passwordFile } as const]),
    ...(passwordStdin === true ? [{ kind: 'stdin' } as const] : []),
    ...(generate === true ? [{ kind: 'generate' } as const] : []),
  ]
  const [first, ...others] = wishes
  if (others.length > 0)
    throw usageError('choose one source of the password: --password-file, --password-stdin or --generate')
  return first ?? { kind: 'ask' }
}
