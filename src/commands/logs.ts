import type { Command } from 'commander'
import { commonFlags, example } from './flags.js'
import type { Cli, CommonFlags } from './verb.js'

interface Flags extends CommonFlags {
  readonly run?: string | undefined
  readonly list?: boolean | undefined
}

export function registerLogs(command: Command, cli: Cli): void {
  command
    .argument('[machine]', 'show only the log of this machine')
    .option('--run <run>', 'name of the run, or the beginning of the name (default: the last run)')
    .option('--list', 'list the logged runs')
  commonFlags(command, { json: true })
  example(command, 'hydra-ops logs -d lab web', 'hydra-ops logs -d lab --run 20261121-101500')
  command.action((machine: string | undefined, flags: Flags) =>
    cli.run(flags, async (ops, ui) => {
      const { loggedRuns, readLogs } = await import('../operations/read-logs.js')
      if (flags.list === true) {
        const runs = await loggedRuns(ops, flags.deployment)
        if (ui.json) ui.printJson(runs)
        else for (const run of runs) ui.print(run)
        return 0
      }
      const log = await readLogs(ops, { deployment: flags.deployment, machine, run: flags.run })
      ui.remark(`run ${log.run}`)
      if (ui.json) ui.printJson(log)
      else ui.print((await import('../ui/log-view.js')).logView(log, ui.style))
      return 0
    }),
  )
}
