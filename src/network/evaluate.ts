import { offerTask } from '../core/builder-offer.js'
import { usersOf } from '../core/builder-users.js'
import type { Ops } from '../core/context.js'
import type { MachineDefinition, NetworkDefinition } from '../core/definition.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { failure } from '../core/errors.js'
import { MachineName } from '../core/names.js'
import type { EvaluationRequest, NixFlags, PhysicalMachine } from '../core/nix.js'
import type { Run } from '../core/run.js'
import type { DeploymentSession } from '../core/session.js'
import { allocateMachines } from './allocate.js'
import { checkoutOfAll } from './jobs/repository.js'

export interface EvaluateOptions {
  readonly args: Readonly<Record<string, string>>
  readonly searchPath: readonly string[]
  readonly nix: NixFlags
}

/** Chooses machines of a network that may contain `failed` ones. */
export type Select = (network: NetworkDefinition) => readonly MachineName[]

/**
 * Evaluates the current network expression, with every machine allocated in the session. One evaluation suffices when
 * all machines are known. Added machines first require a cheap evaluation, for names and provider options; their
 * allocation and the real evaluation follow. `select` also requires the cheap evaluation. The real evaluation then
 * covers only the selected machines, so that errors of other machines do not matter.
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
    return evaluateClosures(ops, deployment.record, options, { mode, only: selected, shape: network }, run)
  }
  // The evaluation does not see obsolete machines, so a machine that returns counts as added.
  const known = () =>
    new Set(
      Object.entries(deployment.record.machines).flatMap(([name, { obsolete }]) => (obsolete ? [] : [name])),
    )
  const complete = (network: NetworkDefinition) =>
    [...network.machines.keys()].every((name) => known().has(name))

  let early: unknown
  if (known().size > 0) {
    try {
      const network = await evaluateClosures(ops, deployment.record, options, { mode }, run)
      if (complete(network)) {
        await allocateMachines(ops, deployment, network)
        return network
      }
    } catch (error) {
      // The evaluation may have failed only because an added machine lacked an address. The cheap evaluation shows
      // whether machines were added.
      early = error
    }
  }
  const shape = await ops.nix.evaluate(evaluationRequest(ops, deployment.record, options, 'shape'), run)
  if (early !== undefined && complete(shape)) throw early
  await allocateMachines(ops, deployment, shape)
  return evaluateClosures(ops, deployment.record, options, { mode, shape }, run)
}

/**
 * Evaluates the closures of machines, and evaluates them again if the definitions show other users of builders than
 * the state. This happens in the first deploy after a machine begins to build on others, or ends to do so.
 */
async function evaluateClosures(
  ops: Ops,
  record: DeploymentRecord,
  options: EvaluateOptions,
  {
    shape,
    ...wanted
  }: Pick<EvaluationRequest, 'mode' | 'only'> & {
    /** The evaluation without closures, if there was one. */
    readonly shape?: NetworkDefinition
  },
  run: Run,
): Promise<NetworkDefinition> {
  const request = {
    ...evaluationRequest(ops, record, options, wanted.mode, wanted),
    physical: physicalOf(ops, record, shape),
  }
  const told = new Set<string>()
  const network = await ops.nix.evaluate(request, {
    ...run,
    log: (line) => {
      told.add(line)
      run.log(line)
    },
  })
  const physical = physicalOf(ops, record, network)
  const machines = [...network.machines.values()]
  // The caller evaluates a network with an added machine again, after the machine's allocation.
  const isAdded = machines.some(({ name }) => physical[name] === undefined)
  const isSettled = machines.every(
    ({ name, os }) =>
      os !== 'nixos' ||
      wanted.only?.includes(name) === false ||
      physical[name]?.usesBuilders === request.physical[name]?.usesBuilders,
  )
  if (isAdded || isSettled) return network
  const onlyNew = (line: string) => {
    if (!told.has(line)) run.log(line)
  }
  return ops.nix.evaluate({ ...request, physical }, { ...run, log: onlyNew })
}

/**
 * Evaluates only the names and options of machines, with every machine allocated in the session. The caller gets the
 * closures elsewhere. Errors of machines that are not selected do not matter.
 */
export async function evaluateNames(
  ops: Ops,
  deployment: DeploymentSession,
  options: EvaluateOptions & { readonly select?: Select | undefined },
  run: Run,
): Promise<NetworkDefinition> {
  const { select } = options
  const evaluate = async () =>
    select === undefined
      ? await ops.nix.evaluate(evaluationRequest(ops, deployment.record, options, 'shape'), run)
      : (await evaluateShape(ops, deployment.record, options, select, run)).network
  const network = await evaluate()
  const allKnown = [...network.machines.keys()].every(
    (name) => deployment.record.machines[name] !== undefined,
  )
  await allocateMachines(ops, deployment, network)
  const chosen = select?.(network) ?? [...network.machines.keys()]
  // An option may refer to an address that was allocated just now.
  return withTaskFacts(ops, deployment.record, options, chosen, allKnown ? network : await evaluate(), run)
}

/**
 * Completes names and options with the facts that set-up tasks depend on, because a NixOS service can replace a task.
 * Machines without such a service need no further evaluation.
 */
export async function withTaskFacts(
  ops: Ops,
  record: DeploymentRecord,
  options: EvaluateOptions,
  selected: readonly MachineName[],
  network: NetworkDefinition,
  run: Run,
): Promise<NetworkDefinition> {
  const only = selected.filter((name) => {
    const machine = network.machines.get(name)
    return machine?.os === 'nixos' && machine.options.hydra.enable
  })
  if (only.length === 0) return network
  return ops.nix.evaluate(evaluationRequest(ops, record, options, 'tasks', { only }), run)
}

/** Evaluates the network without closures, and selects machines; an error of a selected machine is thrown. */
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

/** Returns a machine's definition in the network; throws the error of a broken definition. */
export function definitionIn(network: NetworkDefinition, machine: MachineName): MachineDefinition {
  const wrong = network.failed?.get(machine)
  if (wrong !== undefined) throw wrong
  const definition = network.machines.get(machine)
  if (definition !== undefined) return definition
  throw failure('OBSOLETE', `machine '${machine}' is no longer in the network`, {
    machine,
    hint: 'hydra-ops deploy --kill-obsolete destroys the machine',
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
    ...(record.fromGit === true ? { checkout: checkoutOfAll(record.expressions) } : {}),
    searchPath: [...options.searchPath, ...record.searchPath],
    args: { ...record.args, ...options.args },
    deployment: { uuid: record.uuid, name: record.name ?? record.uuid.slice(0, 8) },
    physical: physicalOf(ops, record),
    mode,
    ...about,
    flags: options.nix,
  }
}

/**
 * Describes each machine of a state, as the expression sees the machine. The users of builders follow from the
 * network, or else from the state alone.
 */
export function physicalOf(
  ops: Pick<Ops, 'providers'>,
  record: DeploymentRecord,
  network?: NetworkDefinition,
): Record<string, PhysicalMachine> {
  const physical: Record<string, PhysicalMachine> = {}
  const users = builderUsers(record, network)
  for (const [name, machine] of Object.entries(record.machines)) {
    if (machine.obsolete) continue
    const provider = ops.providers.named(machine.provider)
    physical[MachineName.parse(name)] = {
      ...provider.physical(machine.allocation),
      ...(machine.hostKey === undefined ? {} : { hostKey: machine.hostKey }),
      ...(users.has(name) ? { usesBuilders: true } : {}),
    }
  }
  return physical
}

/** Names the machines that build on other machines; a known definition must be one of NixOS. */
function builderUsers(
  { machines }: DeploymentRecord,
  network: NetworkDefinition | undefined,
): ReadonlySet<string> {
  const definitions = new Map<string, MachineDefinition>(network?.machines)
  const failed = new Set<string>(network?.failed?.keys())
  const users = Object.entries(machines).flatMap(([name, { tasks, obsolete }]) => {
    const definition = definitions.get(name)
    const isGone = network !== undefined && definition === undefined && !failed.has(name)
    const outputs = { [offerTask]: tasks[offerTask]?.outputs ?? {} }
    return usersOf({ definition, outputs, obsolete: obsolete || isGone }).filter((user) => user !== name)
  })
  return new Set(users.filter((user) => (definitions.get(user)?.os ?? 'nixos') === 'nixos'))
}
