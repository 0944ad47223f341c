import type { Command } from 'commander'
import { commonFlags, example, positive } from './flags.js'
import type { Cli, CommonFlags } from './verb.js'

interface Flags extends CommonFlags {
  readonly lines?: number | undefined
}

export function registerHistory(command: Command, cli: Cli): void {
  command.option('-n, --lines <n>', 'show only the last n entries', positive)
  commonFlags(command, { json: true, plain: true })
  example(command, 'hydra-ops history -d lab -n 20')
  command.action((flags: Flags) =>
    cli.run(flags, async (ops, ui) => {
      const { deploymentHistory } = await import('../operations/history.js')
      const entries = await deploymentHistory(ops, { deployment: flags.deployment, count: flags.lines })
      if (ui.json) ui.printJson(entries)
      else ui.print((await import('../ui/list-view.js')).historyView(entries, ui.plain))
      return 0
    }),
  )
}
