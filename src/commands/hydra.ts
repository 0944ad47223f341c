import type { Command } from 'commander'
import { commonFlags, example } from './flags.js'
import { registerHydraAsk } from './hydra-ask.js'
import { registerHydraJobs } from './hydra-jobs.js'
import { registerHydraUser, showPassword } from './hydra-user.js'
import { noSuchAction } from './no-such-action.js'
import type { Cli, CommonFlags } from './verb.js'

export function registerHydra(command: Command, cli: Cli): void {
  command.argument('[action]', 'the action (default: show the URLs)')
  commonFlags(command, { json: true })
  example(
    command,
    'hydra-ops hydra url -d lab',
    'hydra-ops hydra password alice -d lab',
    'hydra-ops hydra user add bob --role restart-jobs -d lab',
    'hydra-ops hydra status infra:main -d lab',
  )
  command.action((action: string | undefined, flags: CommonFlags) => {
    if (action !== undefined) throw noSuchAction(action, command)
    return showUrls(cli, flags)
  })
  const part = (name: string, description: string, line: string) => {
    const each = command.command(name).description(description)
    commonFlags(each, { json: true })
    example(each, line)
    return each
  }
  part('url', 'show the URLs of Hydra', 'hydra-ops hydra url -d lab').action((_, self: Command) =>
    showUrls(cli, self.optsWithGlobals()),
  )
  part('open', 'open Hydra in a browser', 'hydra-ops hydra open -d lab').action((_, self: Command) =>
    open(cli, self.optsWithGlobals()),
  )
  part('password', 'show a generated password', 'hydra-ops hydra password alice -d lab')
    .argument('<user>', 'name of the user')
    .action((user: string, _: CommonFlags, self: Command) => showPassword(cli, user, self.optsWithGlobals()))
  registerHydraUser(command.command('user'), cli)
  registerHydraJobs(command.command('jobs'), cli)
  registerHydraAsk(command, cli)
}

function showUrls(cli: Cli, flags: CommonFlags): Promise<void> {
  return cli.run(flags, async (ops, ui) => {
    const { hydraUrls } = await import('../operations/hydra.js')
    const found = await hydraUrls(ops, flags.deployment)
    if (ui.json) ui.printJson(found)
    else ui.print(found.map(({ url }) => url).join('\n'))
    return 0
  })
}

function open(cli: Cli, flags: CommonFlags): Promise<void> {
  return cli.run(flags, async (ops, ui) => {
    const { openHydra } = await import('../operations/hydra.js')
    const opened = await openHydra(ops, flags.deployment)
    if (ui.json) ui.printJson([opened])
    else ui.print(opened.url)
    return 0
  })
}
