import type { Command } from 'commander'
import { type DrainFlags, drainFlags, drainOf } from './drain-flags.js'
import { example, positive } from './flags.js'
import { type MachinesFlags, machinesFlags, runOnMachines } from './run-on-machines.js'
import type { Cli } from './verb.js'

/** The default grace period in seconds, longer than systemd's own 90 s for stopping a unit. */
const graceSeconds = 120

interface Flags extends MachinesFlags, DrainFlags {
  readonly grace: number
  readonly hard?: boolean | undefined
}

export function registerStop(command: Command, cli: Cli): void {
  command
    .option(
      '--grace <seconds>',
      'time for a machine to shut down before its power is cut',
      positive,
      graceSeconds,
    )
    .option('--hard', 'cut the power at once')
  drainFlags(command)
  machinesFlags(command)
  example(command, 'hydra-ops stop -d lab', 'hydra-ops stop -d lab --on db --grace 300')
  command.action((flags: Flags) =>
    runOnMachines(cli, flags, 'to stop', async (ops, request) => {
      const { stopMachines } = await import('../operations/power.js')
      return stopMachines(ops, {
        ...request,
        drain: await drainOf(flags),
        graceMs: flags.hard === true ? 0 : flags.grace * 1000,
      })
    }),
  )
}
