import type { Command } from 'commander'
import { commonFlags, example } from './flags.js'
import type { Cli, CommonFlags } from './verb.js'

interface Flags extends CommonFlags {
  readonly log?: boolean | undefined
}

export function registerConsole(command: Command, cli: Cli): void {
  command
    .argument('<machine>', 'the machine')
    .option('--log', 'print the console log since the last start of the machine')
  commonFlags(command, {})
  example(command, 'hydra-ops console -d lab web', 'hydra-ops console -d lab web --log')
  command.action((machine: string, flags: Flags) =>
    cli.run(
      flags,
      async (ops, ui) => {
        const { consoleLog, openConsole } = await import('../operations/console.js')
        const request = { deployment: flags.deployment, machine }
        if (flags.log !== true) return openConsole(ops, request)
        const { printableLines } = await import('../ui/printable.js')
        ui.print(printableLines(await consoleLog(ops, request)).join('\n'))
        return 0
      },
      { handsOver: flags.log !== true },
    ),
  )
}
