import type { Command } from 'commander'
import { deployRequest, type PlanFlags, planFlags } from './deploy-flags.js'
import { commonFlags, example, selectionFlags } from './flags.js'
import { buildFlags, evaluationFlags, expressionFlags } from './nix-flags.js'
import { machinesStatus } from './statuses.js'
import type { Cli } from './verb.js'

export function registerPlan(command: Command, cli: Cli): void {
  planFlags(command)
  selectionFlags(command)
  commonFlags(command, { json: true })
  expressionFlags(command)
  evaluationFlags(command)
  buildFlags(command)
  example(command, 'hydra-ops plan -d lab', 'hydra-ops plan -d lab --json --kill-obsolete')
  command.action((flags: PlanFlags) =>
    cli.run(flags, async (ops, ui) => {
      const { deploy } = await import('../deploy/deploy.js')
      const { planView } = await import('../ui/plan-view.js')
      const request = await deployRequest({ ...flags, dryRun: true }, ops, () => {})
      const { deployment, plan, results } = await deploy(ops, request)
      await ui.settle()
      const { uuid, name } = deployment
      if (ui.json) ui.printJson({ deployment: { uuid, name }, ...plan })
      else ui.print(planView(plan, ui.style))
      return machinesStatus(results)
    }),
  )
}
