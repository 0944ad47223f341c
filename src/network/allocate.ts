import { isDeepStrictEqual } from 'node:util'
import pLimit, { type LimitFunction } from 'p-limit'
import type { Ops } from '../core/context.js'
import type { MachineDefinition, NetworkDefinition } from '../core/definition.js'
import { type DeploymentRecord, type MachineRecord, type Machines, newMachines } from '../core/deployment.js'
import { usageError } from '../core/errors.js'
import { type Json, sameJson } from '../core/json.js'
import { type DeploymentUuid, MachineName } from '../core/names.js'
import { restEvery } from '../core/rest.js'
import type { DeploymentSession } from '../core/session.js'
import { checkEach, eachInTurn } from '../core/several-errors.js'
import type { DefinedMachine } from '../machine/machine.js'
import { portsOf, targetOptions } from '../machine/resource.js'
import { machineRecord } from '../machine/session.js'

/**
 * Gives every machine of the network its MACs, ports and addresses before anything is created. Marks machines that left
 * the network as obsolete. The result is a proposal in the session; `commitAllocation` writes it machine by machine.
 */
export async function allocateMachines(
  ops: Ops,
  deployment: DeploymentSession,
  network: NetworkDefinition,
): Promise<void> {
  const { record } = deployment
  refuseChangedProviders(record, network)
  const book = allocationBook(ops, record, await ops.store.list(record.uuid))
  const rest = restEvery()
  await eachInTurn(network.machines.values(), async (definition) => {
    await rest()
    if (isStale(record, definition)) await allocateOne(ops, book, definition)
    const machine = book.machines[definition.name]
    if (machine === undefined) return
    book.machines[definition.name] = { ...machine, target: targetOptions(definition.options) }
  })
  for (const [name, machine] of machinesOf(book.machines)) {
    const obsolete = !isInNetwork(network, name)
    if (machine.obsolete !== obsolete) book.machines[name] = { ...machine, obsolete }
  }
  refuseSharedPorts(ops, book.machines)
  for (const [name, machine] of machinesOf(book.machines)) {
    await rest()
    const known = record.machines[name]
    if (known === undefined || !isDeepStrictEqual(known, machine)) await deployment.putMachine(name, machine)
  }
  const { description } = network
  if (description !== record.description)
    await deployment.updateDeployment((draft) => Object.assign(draft, { description }))
}

/** Machines of one deployment whose allocations are written together. */
interface Batch {
  readonly members: DefinedMachine[]
  readonly written: Promise<PromiseSettledResult<void>[]>
}

/** Batches that wait for the store's lock, which is taken once per batch instead of once per machine. */
const nextBatches = new WeakMap<DeploymentSession, Batch>()
const turns = new WeakMap<DeploymentSession, LimitFunction>()

/**
 * Writes the allocation of a machine when its work begins. A short lock on the whole store protects the ports,
 * because they are unique across deployments. A port that another deployment took in the meantime is replaced.
 */
export async function commitAllocation(session: DefinedMachine): Promise<void> {
  const { ops, deployment, machine, definition } = session
  const decided = machineRecord(deployment.record, machine).allocation
  const before = deployment.written.machines[machine]?.allocation
  const wanted = ops.providers.named(definition.providerName).ports(decided)
  if (wanted.length === 0 || (before !== undefined && sameJson(before, decided))) {
    await deployment.commit(machine)
    return
  }
  const { members, written } = nextBatches.get(deployment) ?? beginBatch(deployment)
  const at = members.push(session) - 1
  const result = (await written)[at]
  if (result?.status === 'rejected') throw result.reason
}

function beginBatch(deployment: DeploymentSession): Batch {
  const turn = turns.get(deployment) ?? pLimit(1)
  turns.set(deployment, turn)
  const members: DefinedMachine[] = []
  const written = turn(() => {
    nextBatches.delete(deployment)
    return commitTogether(members)
  })
  const batch = { members, written }
  nextBatches.set(deployment, batch)
  return batch
}

async function commitTogether(members: readonly DefinedMachine[]): Promise<PromiseSettledResult<void>[]> {
  const [first] = members
  if (first === undefined) return []
  const { ops, deployment, run } = first
  return ops.store.allocating(deployment.record.uuid, run, async (others) => {
    const taken = new Set(others.flatMap((record) => portsOf(ops, record)))
    const replaced: PromiseSettledResult<void>[] = []
    for (const member of members) {
      const [result] = await Promise.allSettled([replaceLostPorts(member, others, taken)])
      replaced.push(result)
    }
    return Promise.allSettled(
      members.map(async ({ machine }, index) => {
        const result = replaced[index]
        if (result?.status === 'rejected') throw result.reason
        await deployment.commit(machine)
      }),
    )
  })
}

async function replaceLostPorts(
  { ops, deployment, definition }: DefinedMachine,
  others: readonly DeploymentRecord[],
  taken: ReadonlySet<number>,
): Promise<void> {
  const { name } = definition
  const provider = ops.providers.named(definition.providerName)
  const lost = provider
    .ports(machineRecord(deployment.record, name).allocation)
    .filter((port) => taken.has(port))
  if (lost.length === 0) return
  const book = allocationBook(ops, deployment.record, others)
  await allocateOne(ops, book, definition)
  const { allocation } = machineRecord({ ...deployment.record, machines: book.machines }, name)
  await deployment.updateMachine(name, (proposed) => Object.assign(proposed, { allocation }))
  const now = provider.ports(allocation)
  ops.events.emit({
    kind: 'notice',
    text:
      `machine '${name}': another deployment took port ${lost.join(', ')} meanwhile; ` +
      `the machine now has ${now.map((port) => `127.0.0.1:${port}`).join(', ')}`,
  })
}

/** Says whether the network has a machine; an unselected machine with a broken definition still counts. */
function isInNetwork(network: NetworkDefinition, machine: MachineName): boolean {
  return network.machines.has(machine) || network.failed?.has(machine) === true
}

/** Says whether a machine is new or its provider options differ from the options last applied. */
function isStale(record: DeploymentRecord, definition: MachineDefinition): boolean {
  const known = record.machines[definition.name]
  return known === undefined || !sameJson(known.config, definition.provider)
}

/** Everything allocated so far, including each new allocation. */
interface AllocationBook {
  readonly uuid: DeploymentUuid
  readonly machines: Machines
  /** Allocations by provider. */
  readonly allocations: Map<string, Map<MachineName, Json>>
  /** Number of machines, of any deployment, per port. */
  readonly ports: Map<number, number>
  readonly indexes: Set<number>
}

function allocationBook(
  ops: Ops,
  record: DeploymentRecord,
  others: readonly DeploymentRecord[],
): AllocationBook {
  const book: AllocationBook = {
    uuid: record.uuid,
    machines: newMachines(record.machines),
    allocations: new Map(),
    ports: new Map(),
    indexes: new Set(),
  }
  for (const [name, { provider, index, allocation }] of machinesOf(book.machines)) {
    siblingsIn(book, provider).set(name, allocation)
    book.indexes.add(index)
  }
  for (const port of [record, ...others].flatMap((each) => portsOf(ops, each))) count(book.ports, port, 1)
  return book
}

function siblingsIn({ allocations }: AllocationBook, provider: string): Map<MachineName, Json> {
  const siblings = allocations.get(provider) ?? new Map<MachineName, Json>()
  allocations.set(provider, siblings)
  return siblings
}

function count(ports: Map<number, number>, port: number, more: number): void {
  const machines = (ports.get(port) ?? 0) + more
  if (machines > 0) ports.set(port, machines)
  else ports.delete(port)
}

function portsWithout({ ports }: AllocationBook, own: readonly number[]): Set<number> {
  const taken = new Set(ports.keys())
  for (const port of own) if (ports.get(port) === 1) taken.delete(port)
  return taken
}

async function allocateOne(ops: Ops, book: AllocationBook, definition: MachineDefinition): Promise<void> {
  const { name } = definition
  const provider = ops.providers.named(definition.providerName)
  const known = Object.hasOwn(book.machines, name) ? book.machines[name] : undefined
  const index = known?.index ?? freeIndex(book)
  const siblings = siblingsIn(book, provider.name)
  const own = known === undefined ? [] : provider.ports(known.allocation)
  const allocation = await provider.allocate({
    deployment: book.uuid,
    machine: name,
    index,
    config: definition.provider,
    known: known?.allocation,
    takenPorts: portsWithout(book, own),
    siblings: new Map([...siblings].filter(([sibling]) => sibling !== name)),
  })
  for (const port of own) count(book.ports, port, -1)
  for (const port of provider.ports(allocation)) count(book.ports, port, 1)
  siblings.set(name, allocation)
  book.indexes.add(index)
  book.machines[name] =
    known === undefined ? newMachine(definition, index, allocation) : { ...known, allocation }
}

function newMachine(definition: MachineDefinition, index: number, allocation: Json): MachineRecord {
  return {
    provider: definition.providerName,
    os: definition.os,
    index,
    allocation,
    obsolete: false,
    tasks: {},
    keys: {},
    facts: {},
  }
}

function freeIndex({ indexes }: AllocationBook): number {
  let index = 1
  while (indexes.has(index)) index += 1
  return index
}

function machinesOf(machines: Machines): [MachineName, MachineRecord][] {
  return Object.entries(machines).map(([name, machine]) => [MachineName.parse(name), machine])
}

/** Refuses a change of provider, because the machine's disks would otherwise stay behind. */
function refuseChangedProviders(record: DeploymentRecord, network: NetworkDefinition): void {
  checkEach(network.machines.values(), (definition) => {
    const known = record.machines[definition.name]
    if (known === undefined || known.provider === definition.providerName) return
    throw usageError(
      `machine '${definition.name}' exists with provider ${known.provider}; deployment.targetEnv now names ${definition.providerName}`,
      {
        machine: definition.name,
        hint: `destroy the machine first: hydra-ops destroy --include ${definition.name}`,
      },
    )
  })
}

function refuseSharedPorts(ops: Ops, machines: Machines): void {
  const holders = new Map<number, PortClaim>()
  const claims = Object.entries(machines).flatMap(([name, machine]): PortClaim[] => {
    if (machine.obsolete && machine.handle === undefined) return []
    const provider = ops.providers.named(machine.provider)
    return provider.ports(machine.allocation).map((port) => ({
      name,
      port,
      options: provider.portOption === undefined ? [] : [provider.portOption],
    }))
  })
  checkEach(claims, (claim) => {
    const { name, port } = claim
    const other = holders.get(port)
    if (other === undefined) {
      holders.set(port, claim)
      return
    }
    const options = [...new Set([...other.options, ...claim.options])]
    throw usageError(`machines '${other.name}' and '${name}' both want port ${port} of this host`, {
      machine: name,
      hint: `give one machine another host port${options.length === 0 ? '' : ` in ${options.join(' or ')}`}`,
    })
  })
}

/** A loopback port that a machine wants. */
interface PortClaim {
  readonly name: string
  readonly port: number
  /** Full names of the options that choose the port; empty if no option does. */
  readonly options: readonly string[]
}
