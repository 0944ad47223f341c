import { Argument, type Command } from 'commander'
import { commonFlags, example } from './flags.js'
import type { Cli, CommonFlags } from './verb.js'

export function registerCache(command: Command, cli: Cli): void {
  command.addArgument(
    new Argument('[action]', 'show the public keys, or the lines that a client needs to trust them')
      .choices(['key', 'trust-snippet'])
      .default('key'),
  )
  commonFlags(command, { json: true })
  example(command, 'hydra-ops cache key -d lab', 'hydra-ops cache trust-snippet -d lab')
  command.action((action: 'key' | 'trust-snippet', flags: CommonFlags) =>
    cli.run(flags, async (ops, ui) => {
      const { caches, trustSnippet } = await import('../operations/hydra.js')
      const found = await caches(ops, flags.deployment)
      if (ui.json) ui.printJson(found)
      else if (action === 'key') ui.print(found.map(({ publicKey }) => publicKey).join('\n'))
      else ui.print(trustSnippet(found))
      return 0
    }),
  )
}
