import type { Command } from 'commander'
import type { Ops } from '../core/context.js'
import { usageError } from '../core/errors.js'
import { MachineName, StorePath } from '../core/names.js'
import type { DeployRequest } from '../deploy/request.js'
import { type ActivationFlags, activationFlags, activationOf } from './activation-flags.js'
import { type DrainFlags, drainOf } from './drain-flags.js'
import {
  collect,
  maxConcurrentOf,
  type SelectionFlags,
  saysYes,
  selectionOf,
  type YesFlags,
} from './flags.js'
import { type FromHydraFlags, fromHydraFlags, hydraWishOf } from './from-hydra-flags.js'
import { argumentsOf, type BuildFlags, nixFlagsOf, type PairFlags } from './nix-flags.js'
import type { CommonFlags } from './verb.js'

/** Flags that change the content of a plan; `plan` and `deploy` share them. */
export interface PlanFlags
  extends CommonFlags,
    SelectionFlags,
    BuildFlags,
    PairFlags,
    ActivationFlags,
    FromHydraFlags {
  readonly I?: string[] | undefined
  readonly check?: boolean | undefined
  readonly killObsolete?: boolean | undefined
  readonly allowRecreate?: boolean | undefined
  readonly prune?: boolean | undefined
  readonly alwaysActivate?: boolean | undefined
  readonly allowReboot?: boolean | undefined
  readonly forceReboot?: boolean | undefined
  readonly closure?: string[] | undefined
  readonly retryFailed?: boolean | undefined
}

export interface DeployFlags extends PlanFlags, YesFlags, DrainFlags {
  readonly dryRun?: boolean | undefined
  readonly buildOnly?: boolean | undefined
  readonly createOnly?: boolean | undefined
  readonly copyOnly?: boolean | undefined
  readonly skipOffline?: boolean | undefined
  readonly keepGoingGroups?: boolean | undefined
  readonly maxConcurrent?: number | undefined
  readonly acceptHostKey?: boolean | undefined
}

export function planFlags(command: Command): void {
  command
    .option(
      '--check',
      'verify every path of the closure on the machines, even if Nix reports the closure as present',
    )
    .option('-k, --kill-obsolete', 'destroy machines that are no longer in the network')
    .option(
      '--allow-recreate',
      'allow hydra-ops to recreate machines and missing disks; the data on them is lost',
    )
    .option('--prune', 'remove objects of set-up tasks that the expression no longer names')
    .option('--always-activate', 'activate the closure even if it is already active')
    .option('--allow-reboot', 'allow restarts for changes that need a restart')
    .option('--force-reboot', 'reboot every selected machine')
    .option('--closure <machine=path>', 'deploy this store path instead of the evaluated one', collect)
    .option('--retry-failed', 'deploy only to machines on which the last deploy failed or did not begin')
  activationFlags(command)
  fromHydraFlags(command)
}

/** Builds a request from the flags. Only the preferences have been read at this point. */
export async function deployRequest(
  flags: DeployFlags,
  ops: Pick<Ops, 'store'>,
  onPlan: DeployRequest['onPlan'],
): Promise<DeployRequest> {
  return {
    deployment: flags.deployment,
    selection: selectionOf(flags),
    dryRun: flags.dryRun ?? false,
    until: untilOf(flags),
    check: flags.check ?? false,
    killObsolete: flags.killObsolete ?? false,
    allowRecreate: flags.allowRecreate ?? false,
    prune: flags.prune ?? false,
    alwaysActivate: flags.alwaysActivate ?? false,
    allowReboot: flags.allowReboot ?? false,
    forceReboot: flags.forceReboot ?? false,
    drain: await drainOf(flags),
    ...activationOf(flags),
    skipOffline: flags.skipOffline ?? false,
    keepGoing: flags.keepGoing ?? false,
    keepGoingGroups: flags.keepGoingGroups ?? false,
    maxConcurrent: maxConcurrentOf(flags, await ops.store.preferences()),
    closures: closuresOf(flags.closure ?? []),
    fromHydra: hydraWishOf(flags),
    builds: new Map(),
    retryFailed: flags.retryFailed ?? false,
    yes: saysYes(flags),
    acceptHostKey: flags.acceptHostKey ?? false,
    args: await argumentsOf(flags),
    searchPath: flags.I ?? [],
    nix: nixFlagsOf(flags),
    onPlan,
  }
}

function untilOf(flags: DeployFlags): DeployRequest['until'] {
  const asked = (['build', 'create', 'copy'] as const).filter((stage) => flags[`${stage}Only`] === true)
  if (asked.length > 1) {
    throw usageError(`${asked.map((stage) => `--${stage}-only`).join(' and ')} cannot be combined`)
  }
  return asked[0]
}

function closuresOf(texts: readonly string[]): DeployRequest['closures'] {
  return new Map(
    texts.map((text) => {
      const at = text.indexOf('=')
      const machine = MachineName.safeParse(text.slice(0, Math.max(0, at)))
      const path = StorePath.safeParse(text.slice(at + 1))
      if (machine.success && path.success) return [machine.data, path.data] as const
      throw usageError(`--closure '${text}': expected MACHINE=/nix/store/…`, {
        hint: 'for example --closure web=/nix/store/4a0…-hydra-ops-web',
      })
    }),
  )
}
