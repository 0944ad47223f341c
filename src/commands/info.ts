import type { Command } from 'commander'
import { usageError } from '../core/errors.js'
import { commonFlags, example } from './flags.js'
import { type EvaluationFlags, evaluationFlags, nixFlagsOf } from './nix-flags.js'
import type { Cli, CommonFlags } from './verb.js'

interface Flags extends CommonFlags, EvaluationFlags {
  readonly all?: boolean | undefined
  readonly eval: boolean
  readonly probe: boolean
}

export function registerInfo(command: Command, cli: Cli): void {
  command
    .option('--all', 'show every deployment')
    .option('--no-eval', 'do not evaluate the network expression, and do not show which machines are current')
    .option('--no-probe', 'do not ask hypervisors and machines; show the recorded states')
  commonFlags(command, { json: true, plain: true })
  evaluationFlags(command)
  example(command, 'hydra-ops info -d lab', 'hydra-ops info --all --plain --no-eval --no-probe')
  command.action((flags: Flags) =>
    cli.run(flags, async (ops, ui) => {
      if (flags.all === true && flags.deployment !== undefined)
        throw usageError('--all and --deployment cannot be combined')
      const { deploymentInfo } = await import('../operations/info.js')
      const infos = await deploymentInfo(ops, {
        deployment: flags.deployment,
        all: flags.all ?? false,
        evaluate: flags.eval,
        probe: flags.probe,
        nix: nixFlagsOf(flags),
      })
      await ui.settle()
      const { infoView, plainInfo } = await import('../ui/info-view.js')
      const shown = infos.map(({ evaluationError, ...info }) => ({
        ...info,
        evaluated: flags.eval && evaluationError === undefined,
      }))
      if (ui.json) ui.printJson(flags.all === true ? shown : shown[0])
      else if (ui.plain) ui.print(plainInfo(infos, flags.all === true, ui.style))
      else ui.print(infos.map((info) => infoView(info, ui.style)).join('\n\n'))
      const broken = infos.find((info) => info.evaluationError !== undefined)
      if (broken !== undefined) throw broken.evaluationError
      return 0
    }),
  )
}
