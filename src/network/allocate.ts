import pLimit, { type LimitFunction } from 'p-limit'
import type { AnyProvider } from '../core/bind-provider.js'
import type { Ops } from '../core/context.js'
import type { MachineDefinition, NetworkDefinition } from '../core/definition.js'
import type { DeploymentRecord, MachineRecord } from '../core/deployment.js'
import { usageError } from '../core/errors.js'
import { type Json, sameJson } from '../core/json.js'
import { MachineName } from '../core/names.js'
import { checkEach, eachInTurn } from '../core/several-errors.js'
import type { DefinedMachine } from '../machine/machine.js'
import { portsOf, targetOptions } from '../machine/resource.js'
import { type DeploymentSession, machineRecord, updateMachine } from '../machine/session.js'

/**
 * Gives every machine of the network its MACs, ports and addresses before anything is created, and marks those
 * that left the network as obsolete. All of it is a proposal in the session: `commitAllocation` writes it,
 * machine by machine.
 */
export async function allocateMachines(
  ops: Ops,
  deployment: DeploymentSession,
  network: NetworkDefinition,
): Promise<void> {
  refuseChangedProviders(deployment.record, network)
  const draft = structuredClone(deployment.record)
  const others = ops.store.list().filter((record) => record.uuid !== draft.uuid)
  await eachInTurn(network.machines.values(), async (definition) => {
    if (isStale(deployment.record, definition)) await allocateOne(ops, draft, definition, others)
    const machine = draft.machines[definition.name]
    if (machine !== undefined) machine.target = targetOptions(definition.options)
  })
  for (const [name, machine] of Object.entries(draft.machines)) {
    machine.obsolete = !isInNetwork(network, MachineName.parse(name))
  }
  refuseSharedPorts(ops, draft)
  draft.description = network.description
  if (JSON.stringify(draft) === JSON.stringify(deployment.record)) return
  deployment.update((proposed) => {
    proposed.machines = draft.machines
    proposed.description = draft.description
  })
}

/** Machines of one run wait here for the lock of the store, instead of asking for it over and over. */
const turns = new WeakMap<DeploymentSession, LimitFunction>()

/**
 * Writes what was decided about a machine, when its work begins. Ports are handed out under the short lock of the
 * whole store, as they are unique over all deployments; a port that another deployment took since is replaced.
 */
export async function commitAllocation({
  ops,
  deployment,
  machine,
  definition,
  run,
}: DefinedMachine): Promise<void> {
  const decided = machineRecord(deployment.record, machine).allocation
  const before = deployment.written.machines[machine]?.allocation
  const wanted = ops.providers.named(definition.providerName).ports(decided)
  if (wanted.length === 0 || (before !== undefined && sameJson(before, decided))) {
    deployment.commit(machine)
    return
  }
  const turn = turns.get(deployment) ?? pLimit(1)
  turns.set(deployment, turn)
  await turn(() =>
    ops.store.allocating(run, async (all) => {
      const others = all.filter((record) => record.uuid !== deployment.record.uuid)
      const taken = new Set(others.flatMap((record) => portsOf(ops, record)))
      const lost = wanted.filter((port) => taken.has(port))
      if (lost.length > 0) await allocateAgain({ ops, deployment, definition }, others, lost)
      deployment.commit(machine)
    }),
  )
}

async function allocateAgain(
  { ops, deployment, definition }: Pick<DefinedMachine, 'ops' | 'deployment' | 'definition'>,
  others: readonly DeploymentRecord[],
  lost: readonly number[],
): Promise<void> {
  const { name } = definition
  const draft = structuredClone(deployment.record)
  await allocateOne(ops, draft, definition, others)
  const { allocation } = machineRecord(draft, name)
  updateMachine(deployment, name, (proposed) => Object.assign(proposed, { allocation }))
  const now = ops.providers.named(definition.providerName).ports(allocation)
  ops.events.emit({
    kind: 'notice',
    text:
      `machine '${name}': another deployment took port ${lost.join(', ')} meanwhile; ` +
      `it now has ${now.map((port) => `127.0.0.1:${port}`).join(', ')}`,
  })
}

/** A machine that was not selected and whose definition does not evaluate is still wanted. */
function isInNetwork(network: NetworkDefinition, machine: MachineName): boolean {
  return network.machines.has(machine) || network.failed?.has(machine) === true
}

/** New, or its provider options differ from those last applied. */
function isStale(record: DeploymentRecord, definition: MachineDefinition): boolean {
  const known = record.machines[definition.name]
  return known === undefined || !sameJson(known.config, definition.provider)
}

async function allocateOne(
  ops: Ops,
  draft: DeploymentRecord,
  definition: MachineDefinition,
  others: readonly DeploymentRecord[],
): Promise<void> {
  const provider = ops.providers.named(definition.providerName)
  const known = draft.machines[definition.name]
  const index = known?.index ?? freeIndex(draft)
  const allocation = await provider.allocate({
    deployment: draft.uuid,
    machine: definition.name,
    index,
    config: definition.provider,
    known: known?.allocation,
    takenPorts: new Set([
      ...others.flatMap((record) => portsOf(ops, record)),
      ...portsOf(ops, draft, definition.name),
    ]),
    siblings: siblingsOf(draft, provider, definition.name),
  })
  if (known === undefined) draft.machines[definition.name] = newMachine(definition, index, allocation)
  else known.allocation = allocation
}

function newMachine(definition: MachineDefinition, index: number, allocation: Json): MachineRecord {
  return {
    provider: definition.providerName,
    os: definition.options.os,
    index,
    allocation,
    obsolete: false,
    tasks: {},
    keys: {},
    facts: {},
  }
}

function freeIndex(record: DeploymentRecord): number {
  const used = new Set(Object.values(record.machines).map((machine) => machine.index))
  let index = 1
  while (used.has(index)) index += 1
  return index
}

function siblingsOf(
  record: DeploymentRecord,
  provider: AnyProvider,
  except: MachineName,
): Map<MachineName, Json> {
  const siblings = new Map<MachineName, Json>()
  for (const [name, machine] of Object.entries(record.machines)) {
    if (name !== except && machine.provider === provider.name)
      siblings.set(MachineName.parse(name), machine.allocation)
  }
  return siblings
}

/** A machine cannot move from one provider to another: its disks would be left behind. */
function refuseChangedProviders(record: DeploymentRecord, network: NetworkDefinition): void {
  checkEach(network.machines.values(), (definition) => {
    const known = record.machines[definition.name]
    if (known === undefined || known.provider === definition.providerName) return
    throw usageError(
      `machine '${definition.name}' exists with provider ${known.provider}; deployment.targetEnv now asks for ${definition.providerName}`,
      { machine: definition.name, hint: `destroy it first: hydra-ops destroy --include ${definition.name}` },
    )
  })
}

function refuseSharedPorts(ops: Ops, record: DeploymentRecord): void {
  const holders = new Map<number, string>()
  const claims = Object.entries(record.machines).flatMap(([name, machine]) =>
    machine.obsolete && machine.handle === undefined
      ? []
      : ops.providers
          .named(machine.provider)
          .ports(machine.allocation)
          .map((port) => ({ name, port })),
  )
  checkEach(claims, ({ name, port }) => {
    const other = holders.get(port)
    if (other === undefined) {
      holders.set(port, name)
      return
    }
    throw usageError(`machines '${other}' and '${name}' both want port ${port} of this host`, {
      machine: name,
      hint: 'give one of them another host port in deployment.libvirtd.forwardPorts',
    })
  })
}
