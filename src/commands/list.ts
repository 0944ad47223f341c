import type { Command } from 'commander'
import { commonFlags, example } from './flags.js'
import type { Cli, CommonFlags } from './verb.js'

export function registerList(command: Command, cli: Cli): void {
  commonFlags(command, { deployment: false, json: true, plain: true })
  example(command, 'hydra-ops list')
  command.action((flags: CommonFlags) =>
    cli.run(flags, async (ops, ui) => {
      const { labElsewhere, listDeployments } = await import('../operations/list.js')
      const list = await listDeployments(ops)
      const lab = labElsewhere(ops.files.root)
      if (ui.json) ui.printJson(list)
      else ui.print((await import('../ui/list-view.js')).deploymentsView(list, ui.plain))
      for (const { message, hint } of list.problems) {
        ui.events.emit({ kind: 'notice', text: hint === undefined ? message : `${message} (${hint})` })
      }
      if (lab !== undefined) {
        const more = `more deployments of user ${lab.user} (${lab.deployments}): ${lab.command}`
        ui.events.emit({ kind: 'notice', text: more })
      }
      return list.problems.length === 0 ? 0 : 1
    }),
  )
}
