import type { Command } from 'commander'
import { exitCodes } from '../core/errors.js'
import { commonFlags, example } from './flags.js'
import type { Cli, CommonFlags } from './verb.js'

export function registerDoctor(command: Command, cli: Cli): void {
  commonFlags(command, { deployment: false, json: true, plain: true })
  example(command, 'hydra-ops doctor')
  command.action((flags: CommonFlags) =>
    cli.run(flags, async (ops, ui) => {
      const findings = await ops.doctor({ signal: ops.signal, log: () => {} })
      await ui.settle()
      if (ui.json) ui.printJson(findings)
      else ui.print((await import('../ui/list-view.js')).findingsView(findings, ui.style, ui.plain))
      return findings.some((finding) => finding.level === 'problem') ? exitCodes.failed : exitCodes.done
    }),
  )
}
