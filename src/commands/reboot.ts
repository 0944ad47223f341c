import type { Command } from 'commander'
import { type DrainFlags, drainFlags, drainOf } from './drain-flags.js'
import { example } from './flags.js'
import { type MachinesFlags, machinesFlags, runOnMachines } from './run-on-machines.js'
import type { Cli } from './verb.js'

interface Flags extends MachinesFlags, DrainFlags {
  readonly hard?: boolean | undefined
}

export function registerReboot(command: Command, cli: Cli): void {
  command.option('--hard', 'do not wait until the services stop')
  drainFlags(command)
  machinesFlags(command)
  example(command, 'hydra-ops reboot -d lab --on web')
  command.action((flags: Flags) =>
    runOnMachines(cli, flags, 'to reboot', async (ops, request) => {
      const { rebootMachines } = await import('../operations/power.js')
      return rebootMachines(ops, { ...request, drain: await drainOf(flags), hard: flags.hard ?? false })
    }),
  )
}
