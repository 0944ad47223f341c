import type { Command } from 'commander'
import { commonFlags, example, type SelectionFlags, selectionFlags, selectionOf } from './flags.js'
import type { Cli, CommonFlags } from './verb.js'

export function registerSshConfig(command: Command, cli: Cli): void {
  selectionFlags(command)
  commonFlags(command, { json: true })
  example(
    command,
    'hydra-ops ssh-config -d lab > lab.ssh && rsync -e "ssh -F lab.ssh" -a web:/var/log/ log/',
    'ssh -F "$(hydra-ops ssh-config -d lab --json | jq -r .file)" web',
  )
  command.action((flags: CommonFlags & SelectionFlags) =>
    cli.run(flags, async (ops, ui) => {
      const { printSshConfig } = await import('../operations/ssh-config.js')
      const config = await printSshConfig(ops, {
        deployment: flags.deployment,
        selection: selectionOf(flags),
      })
      for (const { machine, why } of config.left)
        ui.events.emit({ kind: 'notice', text: `machine '${machine}' is left out: ${why}` })
      if (ui.json) ui.printJson(config)
      else ui.raw(config.text)
      return 0
    }),
  )
}
