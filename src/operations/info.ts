import type { AnyProvider } from '../core/bind-provider.js'
import type { Ops } from '../core/context.js'
import type { MachineDefinition, NetworkDefinition } from '../core/definition.js'
import type { DeploymentRecord, MachineRecord } from '../core/deployment.js'
import { messageOf, throwIfAborted } from '../core/errors.js'
import { sameJson } from '../core/json.js'
import { updateResultFile } from '../core/machine-places.js'
import { MachineName } from '../core/names.js'
import type { NixFlags } from '../core/nix.js'
import type { Currency, DeploymentInfo, MachineInfo, SystemStatus } from '../core/reports.js'
import type { Run } from '../core/run.js'
import { settleAll } from '../core/settle.js'
import type { Host } from '../core/ssh.js'
import { readUpdateResult, type UpdateResult } from '../core/update-result.js'
import { observeMachine, recordedState, resourceIdOf, type Subject } from '../machine/observe.js'
import { resourceOf } from '../machine/resource.js'
import { inNaturalOrder } from '../network/natural-order.js'

/** Maximum number of concurrent requests to hypervisors and machines. */
const probesAtOnce = 20

export interface InfoRequest {
  readonly deployment: string | undefined
  readonly all: boolean
  readonly evaluate: boolean
  readonly probe: boolean
  readonly nix: NixFlags
}

/** Reports which machines exist, at which addresses, and whether they are current. Writes nothing. */
export async function deploymentInfo(ops: Ops, request: InfoRequest): Promise<DeploymentInfo[]> {
  const records = request.all ? await ops.store.list() : [await ops.store.resolve(request.deployment)]
  const infos: DeploymentInfo[] = []
  // Evaluations run one after the other, because each may take gigabytes.
  for (const record of records) infos.push(await infoOf(ops, record, request))
  return infos
}

async function infoOf(ops: Ops, record: DeploymentRecord, request: InfoRequest): Promise<DeploymentInfo> {
  const run: Run = { signal: ops.signal, log: () => {} }
  const wanted = request.evaluate ? await evaluated(ops, record, request.nix, run) : undefined
  const network = wanted?.network
  // The evaluated record also contains added machines, which are allocated only in memory.
  const seen = wanted?.record ?? record
  const limit = request.probe ? await limited(probesAtOnce) : unlimited
  const names = inNaturalOrder(Object.keys(seen.machines))
  const machines = await settleAll(
    names.map((name) => {
      const machine = MachineName.parse(name)
      const subject = {
        ops,
        record: seen,
        before: record,
        machine,
        definition: network?.machines.get(machine),
        run,
      }
      return limit(() => machineInfo(subject, { ...request, evaluated: network !== undefined }))
    }),
  )
  throwIfAborted(ops.signal)
  return {
    uuid: record.uuid,
    name: record.name,
    description: network === undefined ? record.description : network.description,
    expressions: record.expressions,
    searchPath: record.searchPath,
    args: record.args,
    fromGit: record.fromGit === true,
    machines,
    probed: request.probe,
    evaluationError: wanted?.error,
  }
}

type Limit = (work: () => Promise<MachineInfo>) => Promise<MachineInfo>

const unlimited: Limit = (work) => work()

async function limited(atOnce: number): Promise<Limit> {
  const limit = (await import('p-limit')).default(atOnce)
  return (work) => limit(work)
}

interface Evaluated {
  readonly network?: NetworkDefinition
  readonly record?: DeploymentRecord
  readonly error?: unknown
}

/**
 * Evaluates the current network expression. An error of the expression is kept, so that the known facts can be shown.
 */
async function evaluated(ops: Ops, record: DeploymentRecord, nix: NixFlags, run: Run): Promise<Evaluated> {
  const [{ evaluateNetwork }, { dryRunSession }] = await Promise.all([
    import('../network/evaluate.js'),
    import('../machine/session.js'),
  ])
  const deployment = dryRunSession(ops.files, record)
  try {
    const network = await evaluateNetwork(ops, deployment, { args: {}, searchPath: [], nix }, run)
    return { network, record: deployment.record }
  } catch (error) {
    throwIfAborted(ops.signal)
    return { error }
  }
}

async function machineInfo(
  subject: Subject,
  how: { readonly probe: boolean; readonly evaluated: boolean },
): Promise<MachineInfo> {
  const { ops, record, before, machine, definition } = subject
  const known = record.machines[machine]
  if (known === undefined) throw new Error(`machine ${machine} is not in the record`)
  const provider = ops.providers.all().find((each) => each.name === known.provider)
  const seen = how.probe ? await observeMachine(subject, provider) : recordedState(known, provider)
  const inside = how.probe && seen.state === 'up' ? await lookInside(subject, provider) : {}
  return {
    name: machine,
    state: seen.state,
    currency: how.evaluated ? currencyOf(before.machines[machine], definition) : recordedCurrency(known),
    type: known.provider,
    resourceId: seen.state === 'missing' ? '' : resourceIdOf(subject, provider),
    address: addressOf(known, definition, provider),
    urls: urlsOf(known, definition, provider),
    outputs: Object.fromEntries(
      Object.entries(known.tasks)
        .filter(([, task]) => Object.keys(task.outputs).length > 0)
        .map(([id, task]) => [id, task.outputs]),
    ),
    owners: definition?.options.owners ?? [],
    detail: seen.detail,
    ...inside,
  }
}

/** Deadline for one login, and for one query, of the report. */
const reportMs = 15_000

const nothingKnown: SystemStatus = {
  ...{ running: undefined, booted: undefined, bootDefault: undefined, previous: undefined },
  ...{ generations: [], failedUnits: [], restartsOwed: [], leftovers: [], notes: [] },
}

type Inside = Pick<MachineInfo, 'system' | 'autoUpdate'>

/**
 * Queries a NixOS machine for its systems, and a machine with an automatic update for its last result. The report
 * lacks only this part if a machine cannot be queried.
 */
async function lookInside(
  { ops, record, machine, definition, run }: Subject,
  provider: AnyProvider | undefined,
): Promise<Inside> {
  const known = record.machines[machine]
  const isNixos = known?.os === 'nixos'
  const updates = (known?.tasks['auto-update']?.outputs.timer ?? '') !== ''
  if (provider === undefined || !(isNixos || updates)) return {}
  const { systemOf } = await import('../systems/systems.js')
  try {
    const target = await provider.target(resourceOf(ops, record, machine, definition), run)
    const how = { signal: run.signal, timeoutMs: reportMs }
    const { host } = await ops.ssh.connect(target, how)
    try {
      const system = isNixos ? await systemOf({ os: 'nixos', name: machine }).status?.(host, run) : undefined
      // A NixOS machine has the update timer from its configuration, and a Debian machine from a task.
      const autoUpdate = updates ? await lastUpdate(host, run) : system?.autoUpdate
      return {
        ...(system === undefined ? {} : { system }),
        ...(autoUpdate === undefined ? {} : { autoUpdate }),
      }
    } finally {
      host.close()
    }
  } catch (error) {
    throwIfAborted(run.signal)
    if (!isNixos) return {}
    return { system: { ...nothingKnown, notes: [`the machine could not be queried: ${messageOf(error)}`] } }
  }
}

/** Reads the last result of the automatic update, which every user of the machine may read. */
async function lastUpdate(host: Host, run: Run): Promise<UpdateResult | undefined> {
  const how = { signal: run.signal, timeoutMs: reportMs, asLoginUser: true }
  const result = await host.exec(['cat', updateResultFile], {
    ...how,
    what: 'read the last automatic update',
  })
  return result.kind === 'exited' && result.code === 0 ? readUpdateResult(result.stdout) : undefined
}

/** Returns the only status that needs no evaluation. */
function recordedCurrency(known: MachineRecord): Currency | undefined {
  return known.obsolete ? 'obsolete' : undefined
}

export function currencyOf(
  known: MachineRecord | undefined,
  definition: MachineDefinition | undefined,
): Currency {
  if (definition === undefined) return 'obsolete'
  if (known === undefined || (known.handle === undefined && known.deployed === undefined)) return 'new'
  if (known.obsolete) return 'revived'
  const sameClosure = known.deployed !== undefined && known.deployed.path === definition.outPath
  return sameClosure && sameJson(known.config, definition.provider) ? 'up-to-date' : 'outdated'
}

function addressOf(
  known: MachineRecord,
  definition: MachineDefinition | undefined,
  provider: AnyProvider | undefined,
): string | undefined {
  const physical = provider?.physical(known.allocation)
  return (
    physical?.publicIPv4 ??
    physical?.privateIPv4 ??
    definition?.options.targetHosts[0] ??
    definition?.options.targetHost ??
    known.target?.host
  )
}

function urlsOf(
  known: MachineRecord,
  definition: MachineDefinition | undefined,
  provider: AnyProvider | undefined,
): string[] {
  const config = definition?.provider ?? known.config
  return config === undefined ? [] : (provider?.publishedUrls(config, known.allocation) ?? [])
}
