import type { Ops } from '../../core/context.js'
import type { NetworkDefinition } from '../../core/definition.js'
import type { DeploymentRecord } from '../../core/deployment.js'
import { MachineName } from '../../core/names.js'
import type { EvaluationRequest, NixFlags, PhysicalMachine } from '../../core/nix.js'
import type { Run } from '../../core/run.js'
import { allocateMachines } from './allocate.js'
import type { Session } from './session.js'

export interface EvaluateOptions {
  readonly args: Readonly<Record<string, string>>
  readonly searchPath: readonly string[]
  readonly nix: NixFlags
  readonly only?: readonly MachineName[] | undefined
}

/**
 * The network as it is wanted now, with every machine of it allocated in the session.
 * One evaluation when all machines are known; when some were added, a cheap one for their names and
 * provider options, their allocation, and then the real one.
 */
export async function evaluateNetwork(
  ops: Ops,
  session: Session,
  options: EvaluateOptions,
  run: Run,
): Promise<NetworkDefinition> {
  const mode = session.writable ? 'write' : 'read'
  const evaluate = (wanted: EvaluationRequest['mode']) =>
    ops.nix.evaluate(evaluationRequest(ops, session.record, options, wanted), run)
  const known = () => new Set(Object.keys(session.record.machines))
  const complete = (network: NetworkDefinition) =>
    [...network.machines.keys()].every((name) => known().has(name))

  let early: unknown
  if (known().size > 0) {
    try {
      const network = await evaluate(mode)
      if (complete(network)) {
        await allocateMachines(ops, session, network, run)
        return network
      }
    } catch (error) {
      // It may have failed only for want of the address of a machine that was added: look before giving up.
      early = error
    }
  }
  const shape = await evaluate('shape')
  if (early !== undefined && complete(shape)) throw early
  await allocateMachines(ops, session, shape, run)
  return evaluate(mode)
}

export function evaluationRequest(
  ops: Ops,
  record: DeploymentRecord,
  options: EvaluateOptions,
  mode: EvaluationRequest['mode'],
): EvaluationRequest {
  return {
    files: record.expressions,
    searchPath: [...options.searchPath, ...record.searchPath],
    args: { ...record.args, ...options.args },
    deployment: { uuid: record.uuid, name: record.name ?? record.uuid.slice(0, 8) },
    physical: physicalOf(ops, record),
    mode,
    only: options.only,
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
