import type { Command } from 'commander'
import { example } from './flags.js'
import { type MachinesFlags, machinesFlags, runOnMachines } from './run-on-machines.js'
import type { Cli } from './verb.js'

export function registerStart(command: Command, cli: Cli): void {
  machinesFlags(command)
  example(command, 'hydra-ops start -d lab --include web')
  command.action((flags: MachinesFlags) =>
    runOnMachines(cli, flags, 'to start', async (ops, request) => {
      const { startMachines } = await import('../operations/power.js')
      return startMachines(ops, request)
    }),
  )
}
