import { type Command, Option } from 'commander'
import {
  commonFlags,
  example,
  maxConcurrentFlag,
  maxConcurrentOf,
  type SelectionFlags,
  selectionFlags,
  selectionOf,
} from './flags.js'
import type { Cli, CommonFlags } from './verb.js'

interface Flags extends CommonFlags, SelectionFlags {
  readonly maxConcurrent?: number | undefined
}

export function registerSshForEach(command: Command, cli: Cli): void {
  command
    .argument('<command...>', 'shell command, run by sh as the login user')
    .addOption(
      new Option(
        '-p, --parallel',
        'accepted as in NixOps; hydra-ops always runs the commands in parallel',
      ).hideHelp(),
    )
  selectionFlags(command)
  maxConcurrentFlag(command)
  commonFlags(command, { json: true })
  example(
    command,
    'hydra-ops ssh-for-each -d lab uptime',
    "hydra-ops ssh-for-each --on 'web*' -- 'df -h / | tail -1'",
  )
  command.action((words: string[], flags: Flags) =>
    cli.run(flags, async (ops, ui) => {
      const { sshForEach } = await import('../operations/ssh-for-each.js')
      const { prefixedLine } = await import('../ui/plain-progress.js')
      const results = await sshForEach(ops, {
        deployment: flags.deployment,
        selection: selectionOf(flags),
        command: words,
        maxConcurrent: maxConcurrentOf(flags, await ops.store.preferences()),
        onLine: (machine, line, stream) => {
          if (!ui.json) ui.line(prefixedLine(machine, line, ui.style), stream)
        },
      })
      if (ui.json) ui.printJson(results)
      return Math.max(0, ...results.map((result) => result.status))
    }),
  )
}
