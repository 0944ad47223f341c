import type { Command } from 'commander'
import { collect, collectPair, commonFlags, example } from './flags.js'
import { argumentsOf, type PairFlags } from './nix-flags.js'
import type { Cli, CommonFlags } from './verb.js'

interface Flags extends CommonFlags, PairFlags {
  readonly unset?: string[] | undefined
}

export function registerSetArgs(command: Command, cli: Cli): void {
  command
    .option('--arg <name> <value>', 'remember an argument, as Nix text', collectPair)
    .option('--argstr <name> <value>', 'remember an argument, as a string', collectPair)
    .option('--unset <name>', 'forget an argument', collect)
  commonFlags(command, { json: true })
  command.addHelpText('after', '\nArguments are kept in the state: secrets belong in deployment.keys.')
  example(command, 'hydra-ops set-args -d lab --arg memorySize 2048 --argstr domain example.org')
  command.action((flags: Flags) =>
    cli.run(flags, async (ops, ui) => {
      const { setArguments } = await import('../operations/set-args.js')
      const { args } = await setArguments(ops, {
        deployment: flags.deployment,
        set: await argumentsOf(flags),
        unset: flags.unset ?? [],
      })
      if (ui.json) ui.printJson(args)
      ui.remark(`arguments now: ${Object.keys(args).join(', ') || 'none'}`)
      return 0
    }),
  )
}
