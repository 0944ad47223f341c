import type { Command } from 'commander'
import { commonFlags, example, saysYes, type YesFlags, yesFlag } from './flags.js'
import type { Cli, CommonFlags } from './verb.js'

interface Flags extends CommonFlags, YesFlags {
  readonly force?: boolean | undefined
}

export function registerDelete(command: Command, cli: Cli): void {
  command.option(
    '--force',
    'delete the deployment although machines remain; only machines with disks in the state folder are removed',
  )
  yesFlag(command)
  commonFlags(command, {})
  example(command, 'hydra-ops destroy -d lab && hydra-ops delete -d lab')
  command.action((flags: Flags) =>
    cli.run(flags, async (ops, ui) => {
      const { deleteDeployment } = await import('../operations/delete.js')
      const { deployment } = flags
      const { name, uuid } = await deleteDeployment(ops, {
        deployment,
        force: flags.force ?? false,
        yes: saysYes(flags),
      })
      ui.remark(`deleted deployment '${name ?? uuid}'`)
      return 0
    }),
  )
}
