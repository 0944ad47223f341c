import type { Command } from 'commander'
import { example } from './flags.js'
import { type MachinesFlags, machinesFlags, runOnMachines } from './run-on-machines.js'
import type { Cli } from './verb.js'

export function registerSendKeys(command: Command, cli: Cli): void {
  machinesFlags(command)
  example(command, 'hydra-ops send-keys -d lab --on web')
  command.action((flags: MachinesFlags) =>
    runOnMachines(cli, flags, 'to send keys to', async (ops, request) => {
      const { sendKeys } = await import('../operations/send-keys.js')
      return sendKeys(ops, request)
    }),
  )
}
