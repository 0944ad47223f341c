import type { Ops } from '../core/context.js'
import type { MachineDefinition, NetworkDefinition } from '../core/definition.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { failure } from '../core/errors.js'
import { MachineName } from '../core/names.js'
import type { EvaluationRequest, NixFlags, PhysicalMachine } from '../core/nix.js'
import type { Run } from '../core/run.js'
import type { DeploymentSession } from '../core/session.js'
import { allocateMachines } from './allocate.js'

export interface EvaluateOptions {
  readonly args: Readonly<Record<string, string>>
  readonly searchPath: readonly string[]
  readonly nix: NixFlags
}

/** Chooses machines of a network in which some may be `failed`. */
export type Select = (network: NetworkDefinition) => readonly MachineName[]

/**
 * Evaluates the network as it is wanted now, with every machine of it allocated in the session.
 * One evaluation when all machines are known; when some were added, a cheap one for their names and
 * provider options, their allocation, and then the real one. With `select` the cheap one comes first and the
 * real one is of the selected machines: what is wrong with the others does not concern it.
 */
export async function evaluateNetwork(
  ops: Ops,
  deployment: DeploymentSession,
  options: EvaluateOptions & { readonly select?: Select | undefined },
  run: Run,
): Promise<NetworkDefinition> {
  const mode = deployment.writable ? 'write' : 'read'
  if (options.select !== undefined) {
    const { network, selected } = await evaluateShape(ops, deployment.record, options, options.select, run)
    await allocateMachines(ops, deployment, network)
    const only = { only: selected }
    return ops.nix.evaluate(evaluationRequest(ops, deployment.record, options, mode, only), run)
  }
  const evaluate = (wanted: EvaluationRequest['mode']) =>
    ops.nix.evaluate(evaluationRequest(ops, deployment.record, options, wanted), run)
  // The evaluation is told nothing of an obsolete machine: one that is wanted again counts as added.
  const known = () =>
    new Set(
      Object.entries(deployment.record.machines).flatMap(([name, { obsolete }]) => (obsolete ? [] : [name])),
    )
  const complete = (network: NetworkDefinition) =>
    [...network.machines.keys()].every((name) => known().has(name))

  let early: unknown
  if (known().size > 0) {
    try {
      const network = await evaluate(mode)
      if (complete(network)) {
        await allocateMachines(ops, deployment, network)
        return network
      }
    } catch (error) {
      // It may have failed only for want of the address of a machine that was added: look before giving up.
      early = error
    }
  }
  const shape = await evaluate('shape')
  if (early !== undefined && complete(shape)) throw early
  await allocateMachines(ops, deployment, shape)
  return evaluate(mode)
}

/** The network without closures, and the selected machines; what is wrong with one of them is an error. */
export async function evaluateShape(
  ops: Ops,
  record: DeploymentRecord,
  options: EvaluateOptions,
  select: Select,
  run: Run,
): Promise<{ readonly network: NetworkDefinition; readonly selected: readonly MachineName[] }> {
  const evaluate = (required: readonly MachineName[]) =>
    ops.nix.evaluate(evaluationRequest(ops, record, options, 'shape', { required }), run)
  const network = await evaluate([])
  const selected = select(network)
  const broken = selected.some((name) => network.failed?.has(name) === true)
  return { network: broken ? await evaluate(selected) : network, selected }
}

/** The machine as the network wants it; what is wrong with its definition is thrown. */
export function definitionIn(network: NetworkDefinition, machine: MachineName): MachineDefinition {
  const wrong = network.failed?.get(machine)
  if (wrong !== undefined) throw wrong
  const definition = network.machines.get(machine)
  if (definition !== undefined) return definition
  throw failure('OBSOLETE', `machine '${machine}' is no longer in the network`, {
    machine,
    hint: 'hydra-ops deploy --kill-obsolete',
  })
}

export function evaluationRequest(
  ops: Ops,
  record: DeploymentRecord,
  options: EvaluateOptions,
  mode: EvaluationRequest['mode'],
  about: Pick<EvaluationRequest, 'only' | 'required'> = {},
): EvaluationRequest {
  return {
    files: record.expressions,
    searchPath: [...options.searchPath, ...record.searchPath],
    args: { ...record.args, ...options.args },
    deployment: { uuid: record.uuid, name: record.name ?? record.uuid.slice(0, 8) },
    physical: physicalOf(ops, record),
    mode,
    ...about,
    flags: options.nix,
  }
}

/** What was decided about each machine, as the expression sees it. */
function physicalOf(ops: Ops, record: DeploymentRecord): Record<string, PhysicalMachine> {
  const physical: Record<string, PhysicalMachine> = {}
  for (const [name, machine] of Object.entries(record.machines)) {
    if (machine.obsolete) continue
    const provider = ops.providers.named(machine.provider)
    physical[MachineName.parse(name)] = {
      ...provider.physical(machine.allocation),
      ...(machine.hostKey === undefined ? {} : { hostKey: machine.hostKey }),
    }
  }
  return physical
}
