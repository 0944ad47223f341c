import type { Command } from 'commander'
import { commonFlags, example, type SelectionFlags, selectionFlags, selectionOf } from './flags.js'
import type { Cli, CommonFlags } from './verb.js'

export function registerCheck(command: Command, cli: Cli): void {
  selectionFlags(command)
  commonFlags(command, { json: true, plain: true })
  command.addHelpText(
    'after',
    `
The exit status is a sum: 1 missing, 2 down, 4 unreachable, 8 disks, 16 failed units; 64 wrong usage, 69 internal error.`,
  )
  example(command, 'hydra-ops check -d lab', "hydra-ops check -d lab --on 'web*'")
  command.action((flags: CommonFlags & SelectionFlags) =>
    cli.run(flags, async (ops, ui) => {
      const { checkMachines, checkStatus } = await import('../operations/check.js')
      const report = await checkMachines(ops, { deployment: flags.deployment, selection: selectionOf(flags) })
      await ui.settle()
      if (ui.json) ui.printJson(report)
      else ui.print((await import('../ui/check-view.js')).checkView(report, ui))
      return checkStatus(report)
    }),
  )
}
