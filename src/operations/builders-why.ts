import type { OwnBuilder, ReportedBuilder } from '../core/build-why.js'
import { machinesIn, offerTask, readOffer, useTask } from '../core/builder-offer.js'
import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { failure, messageOf, OpsError, usageError } from '../core/errors.js'
import { MachineName, StorePath } from '../core/names.js'
import type { BuildWhy } from '../core/reports.js'
import type { Run } from '../core/run.js'
import { suggest } from '../core/suggest.js'
import { runnerStatus } from '../hydra/read.js'
import type { RunnerStatus } from '../hydra/replies.js'
import { dryRunSession } from '../machine/session.js'
import { onHost } from './builders.js'
import { openHydraApi } from './hydra-at.js'
import { localShell } from './local-shell.js'

export interface WhyRequest {
  readonly deployment: string | undefined
  /** Machine that should have the derivation built; required if several machines have builders. */
  readonly machine: string | undefined
  /** Whether the question is about the Nix of this host. */
  readonly here: boolean
  readonly derivation: string
}

/** Finds the one cause that keeps a derivation from being built. Changes nothing except by tiny test builds. */
export async function buildersWhy(ops: Ops, request: WhyRequest): Promise<BuildWhy> {
  const { derivation, here, machine } = request
  if (!/\.drv$/.test(derivation) || !StorePath.safeParse(derivation).success)
    throw usageError(
      `expected the path of a derivation (/nix/store/….drv), got ${JSON.stringify(derivation)}`,
    )
  if (here && machine !== undefined) throw usageError('--here and --machine cannot be combined')
  const run: Run = { signal: ops.signal, log: (line) => ops.events.emit({ kind: 'notice', text: line }) }
  return here ? whyHere(ops, derivation, run) : whyOn(ops, request, run)
}

async function whyOn(ops: Ops, request: WhyRequest, run: Run): Promise<BuildWhy> {
  const record = await ops.store.resolve(request.deployment)
  const machine = machineOf(record, request.machine)
  const hydra = record.machines[machine]?.tasks.hydra?.outputs
  const reported = hydra === undefined ? new Map<string, never>() : await reportOf(ops, hydra.url, run)
  return onHost(ops, dryRunSession(ops.files, record), machine, run, (host) =>
    ops.whyNotBuilt(
      {
        shell: host,
        where: `machine '${machine}'`,
        decider: hydra === undefined ? 'daemon' : 'queue runner',
        user: host.target.user,
        root: true,
        file: request.derivation,
        store: 'daemon',
        ours: offersIn(record),
        reported,
      },
      request.derivation,
      run,
    ),
  )
}

/** Returns the machine to query: the named one, or the only one that has builders or a Hydra. */
function machineOf(record: DeploymentRecord, wanted: string | undefined): MachineName {
  const machines = Object.entries(record.machines)
  const names = machines.map(([name]) => name)
  if (wanted !== undefined) {
    if (names.includes(wanted)) return MachineName.parse(wanted)
    const close = suggest(wanted, names)
    throw usageError(`the deployment has no machine '${wanted}'`, {
      hint: close === undefined ? `the machines are: ${names.join(', ')}` : `did you mean '${close}'?`,
    })
  }
  const users = machines
    .filter(
      ([, { tasks }]) => tasks.hydra !== undefined || machinesIn(tasks[useTask]?.outputs.builders).length > 0,
    )
    .map(([name]) => name)
  const [first, ...more] = users
  if (first === undefined)
    throw failure('NO_BUILDERS', 'no machine of the deployment has a Hydra or a builder yet', {
      hint: 'name a machine with --machine NAME, or ask about this host with --here',
    })
  if (more.length > 0)
    throw usageError('several machines have builders', {
      hint: `select one with --machine NAME (${users.join(', ')})`,
    })
  return MachineName.parse(first)
}

function offersIn({ machines }: DeploymentRecord): OwnBuilder[] {
  return Object.entries(machines).flatMap(([name, { tasks }]) => {
    const offer = readOffer(tasks[offerTask]?.outputs.entry)
    return offer === undefined ? [] : [{ machine: MachineName.parse(name), ...offer }]
  })
}

/** Queries a Hydra about its builders. Busy and disabled builders stay unknown if Hydra does not answer. */
async function reportOf(
  ops: Ops,
  url: string | undefined,
  run: Run,
): Promise<ReadonlyMap<string, ReportedBuilder>> {
  try {
    if (url === undefined) return new Map()
    const api = await openHydraApi(ops, { deployment: undefined, url })
    return reportedBuilders(await runnerStatus(api), ops.now())
  } catch (error) {
    if (!(error instanceof OpsError) || error.code === 'INTERRUPTED') throw error
    run.log(`Hydra does not report its busy and disabled builders: ${messageOf(error)}`)
    return new Map()
  }
}

/** Reads a queue runner's report about each builder. */
export function reportedBuilders(
  { machines }: RunnerStatus,
  now: Date,
): ReadonlyMap<string, ReportedBuilder> {
  return new Map(
    Object.entries(machines).map(([name, { currentJobs, disabledUntil, consecutiveFailures }]) => [
      name,
      {
        currentJobs: currentJobs ?? 0,
        disabledFor: Math.max(0, Math.ceil((disabledUntil ?? 0) - now.getTime() / 1000)),
        failures: consecutiveFailures ?? 0,
      },
    ]),
  )
}

/** Finds the cause for the Nix of this host, as the user who runs hydra-ops. */
async function whyHere(ops: Ops, derivation: string, run: Run): Promise<BuildWhy> {
  const { remote } = await ops.nix.describeStore()
  const file = await ops.nix.folderOf(StorePath.parse(derivation))
  if (file === undefined)
    throw failure('NO_DERIVATION', `the Nix store of this host has no ${derivation}`, {
      hint: 'create the derivation with nix-instantiate, or ask about another machine with --machine NAME',
    })
  const daemon = remote === 'daemon' || remote.startsWith('unix://')
  return ops.whyNotBuilt(
    {
      shell: localShell(ops),
      where: 'this host',
      decider: daemon ? 'daemon' : 'user',
      user: ops.operator.user,
      root: false,
      file,
      store: remote,
      ours: [],
      reported: new Map(),
    },
    derivation,
    run,
  )
}
