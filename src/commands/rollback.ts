import { type Command, Option } from 'commander'
import { usageError } from '../core/errors.js'
import type { OnDegraded } from '../operations/rollback.js'
import { type DrainFlags, drainFlags, drainOf } from './drain-flags.js'
import { example, maxConcurrentOf, positive, saysYes, selectionOf, type YesFlags, yesFlag } from './flags.js'
import { type MachinesFlags, machinesFlags, showResults } from './run-on-machines.js'
import { machinesStatus } from './statuses.js'
import type { Cli } from './verb.js'

interface Flags extends MachinesFlags, YesFlags, DrainFlags {
  readonly allowReboot?: boolean | undefined
  readonly onDegraded?: OnDegraded | undefined
  readonly confirmTimeout?: number | undefined
}

export function registerRollback(command: Command, cli: Cli): void {
  command
    .argument('[machines...]', 'the machines (default: all NixOS machines that are selected)')
    .option('--allow-reboot', 'reboot a machine if its earlier system needs a reboot')
    .addOption(new Option('--on-degraded <policy>', 'as for deploy').choices(['fail', 'keep', 'rollback']))
    .option(
      '--confirm-timeout <seconds>',
      'time for the login that confirms the system (default: 30)',
      positive,
    )
  drainFlags(command)
  yesFlag(command)
  machinesFlags(command)
  example(command, 'hydra-ops rollback web -d lab', "hydra-ops rollback -d lab --on '@web' --yes")
  command.action((machines: string[], flags: Flags) =>
    cli.run(flags, async (ops, ui) => {
      if (machines.length > 0 && machines.every((word) => /^\d+$/.test(word))) {
        throw usageError('rollback takes machine names, not a generation number', {
          hint: 'hydra-ops rollback MACHINE goes back to the system before the last deploy of the machine',
        })
      }
      const { rollbackMachines } = await import('../operations/rollback.js')
      const { planView } = await import('../ui/plan-view.js')
      const chosen = selectionOf(flags)
      const results = await rollbackMachines(ops, {
        deployment: flags.deployment,
        selection:
          machines.length === 0 ? chosen : { ...chosen, include: [...machines, ...(flags.include ?? [])] },
        maxConcurrent: maxConcurrentOf(flags, await ops.store.preferences()),
        yes: saysYes(flags),
        allowReboot: flags.allowReboot ?? false,
        onDegraded: flags.onDegraded,
        confirmSeconds: flags.confirmTimeout ?? 30,
        drain: await drainOf(flags),
        onPlan: (plan) => {
          ui.expect(plan.machines.map(({ machine }) => machine))
          if (!ui.json) ui.announce(planView(plan, ui.errStyle))
        },
      })
      await ui.settle()
      if (ui.json) ui.printJson(results)
      else await showResults(ui, results, 'there was nothing to roll back')
      return machinesStatus(results)
    }),
  )
}
