import type { Command } from 'commander'
import { type DeployFlags, deployRequest, planFlags } from './deploy-flags.js'
import { drainFlags } from './drain-flags.js'
import { commonFlags, example, maxConcurrentFlag, selectionFlags, yesFlag } from './flags.js'
import { buildFlags, evaluationFlags, expressionFlags } from './nix-flags.js'
import { showResults } from './run-on-machines.js'
import { machinesStatus } from './statuses.js'
import type { Cli } from './verb.js'

export function registerDeploy(command: Command, cli: Cli): void {
  command
    .option('--dry-run', 'show the plan and write nothing (same as hydra-ops plan)')
    .option('--build-only', 'stop when everything is built')
    .option('--create-only', 'stop when the machines exist')
    .option('--copy-only', 'stop when the closures are copied')
    .option('--skip-offline', 'leave out hosts that do not answer')
    .option('--keep-going', 'Nix: build the rest when one build fails')
    .option('--keep-going-groups', 'begin every group of network.ordering, even after a failed group')
    .option('--accept-host-key', 'accept the host key of a host at the first connection')
  drainFlags(command)
  planFlags(command)
  selectionFlags(command)
  maxConcurrentFlag(command)
  yesFlag(command)
  commonFlags(command, { json: true, plain: true })
  expressionFlags(command)
  evaluationFlags(command)
  buildFlags(command)
  example(
    command,
    'hydra-ops deploy -d lab',
    "hydra-ops deploy -d lab --on 'web*,!web3' --allow-reboot --yes",
    'hydra-ops deploy -d lab --from-hydra https://hydra.example.org/job/infra/main --max-age 2d',
  )
  command.action((flags: DeployFlags) =>
    cli.run(flags, async (ops, ui) => {
      const { deploy } = await import('../deploy/deploy.js')
      const { planView } = await import('../ui/plan-view.js')
      const dryRun = flags.dryRun ?? false
      const request = await deployRequest(flags, ops, (plan) => {
        ui.expect(plan.machines.map((machine) => machine.machine))
        if (ui.json) return
        if (dryRun) ui.print(planView(plan, ui.style))
        else ui.announce(planView(plan, ui.errStyle))
      })
      const { deployment, plan, results } = await deploy(ops, request)
      await ui.settle()
      const { uuid, name } = deployment
      if (ui.json) ui.printJson({ deployment: { uuid, name }, plan, results })
      else if (!dryRun) await showResults(ui, results, nothingToDeploy(request))
      return machinesStatus(results)
    }),
  )
}

function nothingToDeploy({ retryFailed }: { readonly retryFailed: boolean }): string {
  const why = retryFailed
    ? ': the last deploy failed on none of the selected machines, and began all of them'
    : ''
  return `there was nothing to deploy${why}`
}
