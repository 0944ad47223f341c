import type { Ops } from '../core/context.js'
import { failure } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import type { MachineName, StorePath } from '../core/names.js'
import type { NixFlags } from '../core/nix.js'
import type { Run } from '../core/run.js'
import type { DeploymentSession } from '../core/session.js'
import { eachInTurn } from '../core/several-errors.js'
import { failedResult, secondsSince } from '../machine/finish.js'
import { withOperatorBuilders } from '../machine/operator-builders.js'
import { notBegun, recordResults } from '../machine/results.js'
import type { Assessment } from './assess.js'
import { comesFromHydra, ensureFetchable } from './fetch-closure.js'
import { enter, type Job } from './job.js'
import { makeImage } from './make-image.js'
import type { DeployRequest } from './request.js'

export interface AssessedMachine {
  readonly job: Job
  readonly seen: Assessment
}

/**
 * Builds images and closures of every selected machine before any machine is touched. A failed build ends the deploy,
 * unless `--keep-going` lets the other machines continue.
 */
export async function buildEverything(
  ops: Ops,
  deployment: DeploymentSession,
  machines: readonly AssessedMachine[],
  request: DeployRequest,
  run: Run,
): Promise<{ ready: AssessedMachine[]; failures: MachineResult[] }> {
  const nix = await withOperatorBuilders(ops, deployment.record, request.nix, run)
  // A dry activation creates no machine.
  if (request.mode !== 'dry-activate') await buildImages(ops, machines, nix, run)
  const start = Date.now()
  const wanted = new Map<MachineName, StorePath>()
  await eachInTurn(machines, async ({ job, seen }) => {
    enter(job, 'build')
    if (comesFromHydra(job)) await ensureFetchable(job, seen)
    else if (request.closures.has(job.machine)) await requireBuilt(ops, job, seen)
    else if (job.definition.drvPath !== undefined) wanted.set(job.machine, job.definition.drvPath)
  })
  const built = wanted.size === 0 ? new Map() : await ops.nix.build(wanted, nix, run)
  const failures: MachineResult[] = []
  const ready: AssessedMachine[] = []
  for (const item of machines) {
    const result = built.get(item.job.machine)
    if (result !== undefined && 'error' in result) {
      failures.push(failedResult(item.job.machine, 'build', secondsSince(start), result.error, []))
      continue
    }
    if (item.seen.wanted !== undefined && (await isHere(item))) {
      // This GC root has a separate name. A closure that never runs must not replace the root of the running closure.
      await ops.nix.root(deployment.paths.gcroots, builtRoot(item.job.machine), item.seen.wanted, run)
    }
    ready.push(item)
  }
  if (failures.length > 0 && !request.keepGoing) {
    await recordResults(deployment, [...failures, ...ready.map(({ job }) => notBegun(job))])
    throw failure('BUILD', failures.map((each) => `machine '${each.machine}': ${each.reason}`).join('\n'), {
      hint: 'no machine was changed; correct the error, or deploy the other machines with --keep-going',
      detail: failures.flatMap((each) => each.evidence ?? []).join('\n'),
    })
  }
  return { ready, failures }
}

/** Returns whether this host has the closure; a machine may fetch a Hydra's builds without this host. */
async function isHere({ job, seen }: AssessedMachine): Promise<boolean> {
  return !comesFromHydra(job) || (seen.wanted !== undefined && (await job.ops.nix.isBuilt(seen.wanted)))
}

/** Builds each missing image once. */
async function buildImages(
  ops: Ops,
  machines: readonly AssessedMachine[],
  nix: NixFlags,
  run: Run,
): Promise<void> {
  const made = new Set<string>()
  await eachInTurn(machines, async ({ job, seen: { missingImage: wanted } }) => {
    if (wanted === undefined) return
    const name = wanted.nixos?.id ?? wanted.reference
    if (made.has(name)) return
    made.add(name)
    run.log(`building the image ${wanted.reference}`)
    await makeImage(ops, job.machine, wanted, { nix, refresh: false }, run)
  })
}

/**
 * Returns the name of the GC root of the closure that was last built for a machine. No machine has a `+` in its name.
 */
export function builtRoot(machine: MachineName): string {
  return `${machine}+built`
}

async function requireBuilt(ops: Ops, job: Job, seen: Assessment): Promise<void> {
  if (seen.wanted !== undefined && (await ops.nix.isBuilt(seen.wanted))) return
  throw failure(
    'NOT_BUILT',
    `machine '${job.machine}': the closure ${seen.wanted} is not in the Nix store of this host`,
    {
      machine: job.machine,
      hint: `nix-store --realise ${seen.wanted}`,
    },
  )
}
