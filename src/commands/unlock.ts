import type { Command } from 'commander'
import { commonFlags, example, saysYes, type YesFlags, yesFlag } from './flags.js'
import type { Cli, CommonFlags } from './verb.js'

export function registerUnlock(command: Command, cli: Cli): void {
  yesFlag(command)
  commonFlags(command, {})
  example(command, 'hydra-ops unlock -d lab')
  command.action((flags: CommonFlags & YesFlags) =>
    cli.run(flags, async (ops, ui) => {
      const { unlockDeployment } = await import('../operations/unlock.js')
      const holder = await unlockDeployment(ops, { deployment: flags.deployment, yes: saysYes(flags) })
      ui.remark(holder === undefined ? 'the deployment was not locked' : `removed the lock of ${holder}`)
      return 0
    }),
  )
}
