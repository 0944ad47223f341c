import type { Command } from 'commander'
import { type DrainFlags, drainFlags, drainOf } from './drain-flags.js'
import { example, saysYes, type YesFlags, yesFlag } from './flags.js'
import { type MachinesFlags, machinesFlags, runOnMachines } from './run-on-machines.js'
import type { Cli } from './verb.js'

export function registerDestroy(command: Command, cli: Cli): void {
  yesFlag(command)
  drainFlags(command)
  machinesFlags(command)
  example(command, 'hydra-ops destroy -d lab', 'hydra-ops destroy -d lab --include old-web --yes')
  command.action((flags: MachinesFlags & YesFlags & DrainFlags) =>
    runOnMachines(cli, flags, 'to destroy', async (ops, request) => {
      const { destroyMachines } = await import('../operations/destroy.js')
      return destroyMachines(ops, { ...request, drain: await drainOf(flags), yes: saysYes(flags) })
    }),
  )
}
