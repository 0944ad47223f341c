import type { Command } from 'commander'
import { example, saysYes, type YesFlags, yesFlag } from './flags.js'
import { type MachinesFlags, machinesFlags, runOnMachines } from './run-on-machines.js'
import type { Cli } from './verb.js'

export function registerDestroy(command: Command, cli: Cli): void {
  yesFlag(command)
  machinesFlags(command)
  example(command, 'hydra-ops destroy -d lab', 'hydra-ops destroy -d lab --include old-web --yes')
  command.action((flags: MachinesFlags & YesFlags) =>
    runOnMachines(cli, flags, 'to destroy', async (ops, request) => {
      const { destroyMachines } = await import('../operations/destroy.js')
      return destroyMachines(ops, { ...request, yes: saysYes(flags) })
    }),
  )
}
