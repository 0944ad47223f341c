import { type Command, Option } from 'commander'
import { usageError } from '../core/errors.js'
import { commonFlags, example } from './flags.js'
import { type EvaluationFlags, evaluationFlags, nixFlagsOf } from './nix-flags.js'
import type { Cli, CommonFlags } from './verb.js'

interface Flags extends CommonFlags, EvaluationFlags {
  readonly physical?: boolean | undefined
}

export function registerShowOption(command: Command, cli: Cli): void {
  command
    .argument('[option]', 'the option, such as services.nginx.enable; with --physical, the machine')
    .argument('[machine]', 'only this machine (default: every machine)')
    .option('--physical', 'show the facts of the provider as definitions: address, host key, disks')
    // NixOps needs this flag for facts of the provider. Evaluations of hydra-ops always include these facts.
    .addOption(new Option('--include-physical').hideHelp())
  commonFlags(command, { json: true })
  evaluationFlags(command)
  example(
    command,
    'hydra-ops show-option networking.hostName -d lab',
    'hydra-ops show-option --physical web -d lab',
  )
  command.action((first: string | undefined, second: string | undefined, flags: Flags) =>
    cli.run(flags, async (ops, ui) => {
      const physical = flags.physical ?? false
      if (physical && second !== undefined)
        throw usageError('--physical shows all facts of a machine, and takes no option')
      if (!physical && first === undefined) {
        throw usageError('show-option needs the name of an option', {
          hint: 'hydra-ops show-option services lists the options below services',
        })
      }
      const { showOption } = await import('../operations/show-option.js')
      const answers = await showOption(ops, {
        deployment: flags.deployment,
        ...(physical ? { option: undefined, machine: first } : ordered(first, second)),
        physical,
        nix: nixFlagsOf(flags),
      })
      await ui.settle()
      if (ui.json) ui.printJson(answers)
      else ui.print((await import('../ui/option-view.js')).optionView(answers))
      return 0
    }),
  )
}

/**
 * Also accepts NixOps' order, with the machine first. A word without a dot before a word with a dot is a machine's
 * name.
 */
function ordered(first: string | undefined, second: string | undefined) {
  const isNixops = second?.includes('.') === true && first?.includes('.') === false
  return isNixops ? { option: second, machine: first } : { option: first, machine: second }
}
