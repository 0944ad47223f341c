import { Argument, type Command } from 'commander'
import { usageError } from '../core/errors.js'
import { commonFlags, example } from './flags.js'
import type { Cli, CommonFlags } from './verb.js'

type Action = 'url' | 'open' | 'password'

export function registerHydra(command: Command, cli: Cli): void {
  command
    .addArgument(
      new Argument('[action]', 'show its URL, open it in a browser, or show a password that was made up')
        .choices(['url', 'open', 'password'])
        .default('url'),
    )
    .argument('[user]', 'whose password')
  commonFlags(command, { json: true })
  example(command, 'hydra-ops hydra url -d lab', 'hydra-ops hydra password alice -d lab')
  command.action((action: Action, user: string | undefined, flags: CommonFlags) =>
    cli.run(flags, async (ops, ui) => {
      const { generatedPassword, hydraUrls, openHydra } = await import('../operations/hydra.js')
      if (action === 'password') {
        if (user === undefined) throw usageError('whose password?', { hint: 'hydra-ops hydra password NAME' })
        const password = generatedPassword(ops, flags.deployment, user)
        if (ui.json) ui.printJson({ user, password })
        else ui.print(password)
        return 0
      }
      if (user !== undefined) throw usageError(`hydra ${action} takes no user, got '${user}'`)
      const found =
        action === 'open' ? [await openHydra(ops, flags.deployment)] : hydraUrls(ops, flags.deployment)
      if (ui.json) ui.printJson(found)
      else ui.print(found.map(({ url }) => url).join('\n'))
      return 0
    }),
  )
}
