import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DeploymentUuid, MachineName, resourceName } from '../../src/core/names.js'
import type { AllocationRequest, Provider, Resource } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { noTarget } from '../providers/plain-machine.js'
import { snapshotContract } from './snapshot-contract.js'

/** The fixtures that the contract tests of a provider need. */
export interface ContractHarness<Config, Allocation, Handle> {
  readonly provider: Provider<Config, Allocation, Handle>
  readonly run: Run
  /** Values that a network expression may give; each value must parse. */
  readonly configExamples: readonly unknown[]
  /**
   * Creates the record of a resource in a new deployment. The resource has an allocation, but its machine
   * does not exist yet. Each call returns a different resource.
   */
  makeResource(
    overrides?: Partial<Resource<Config, Allocation, Handle>>,
  ): Promise<Resource<Config, Allocation, Handle>>
  /** Config that an existing machine of `makeResource` can adopt. Other configs may require a new machine. */
  readonly changedConfig?: Config
  /**
   * Config used instead of `changedConfig` for a machine with snapshots, because snapshots exclude some
   * changes.
   */
  readonly changedWithSnapshots?: Config
  /** Lists all machines, disks and other objects in the backend, including foreign objects. */
  listing(): Promise<string[]>
  /** Creates an unmarked object with the resource's name; its `isUntouched` tells whether the object is unchanged. */
  createForeign?(resource: Resource<Config, Allocation, Handle>): Promise<{ isUntouched(): Promise<boolean> }>
  /** Access to the disk of a stopped machine, which a provider with snapshots requires. */
  readonly disk?: {
    write(resource: Resource<Config, Allocation, Handle>, text: string): Promise<void>
    read(resource: Resource<Config, Allocation, Handle>): Promise<string | undefined>
  }
  cleanup(): Promise<void>
}

/** A run that is never interrupted. */
export const contractRun: Run = { signal: new AbortController().signal, log: () => {} }

/** Inputs for a new machine. */
export interface MachineParts<Config, Allocation, Handle> {
  readonly provider: Pick<Provider<Config, Allocation, Handle>, 'allocate'>
  /** A folder of the test, for the machine's disks and its console log. */
  readonly folder: string
  readonly config: Config
}

let machines = 0

/**
 * Creates the record of a machine in a new deployment. The machine has an allocation, but neither files nor
 * keys.
 */
export async function newMachine<Config, Allocation, Handle>(
  { provider, folder, config }: MachineParts<Config, Allocation, Handle>,
  overrides: Partial<Resource<Config, Allocation, Handle>> = {},
): Promise<Resource<Config, Allocation, Handle>> {
  machines += 1
  const uuid = DeploymentUuid.parse(crypto.randomUUID())
  const machine = MachineName.parse(`machine${machines}`)
  const resource = {
    deployment: { uuid, name: 'contract' },
    machine,
    name: resourceName(uuid, machine),
    index: 1,
    config,
    handle: undefined,
    identity: undefined,
    image: undefined,
    disks: join(folder, uuid, 'disks', machine),
    console: join(folder, uuid, 'console', `${machine}.log`),
    target: noTarget,
    hostKey: undefined,
    ...overrides,
  }
  const request = { ...resource, deployment: resource.deployment.uuid, known: undefined }
  const apart = { takenPorts: new Set<number>(), siblings: new Map<MachineName, Allocation>() }
  const allocation = overrides.allocation ?? (await provider.allocate({ ...request, ...apart }))
  return { ...resource, allocation }
}

export interface ContractOptions<Config, Allocation, Handle> {
  /** Whether the provider makes machines, which decides the part of the contract that applies. */
  readonly makesMachines: boolean
  /** Whether the provider has the optional power `snapshots`. */
  readonly keepsSnapshots?: boolean
  open(): Promise<ContractHarness<Config, Allocation, Handle>>
}

/** Defines the tests of everything that the engine expects from each provider. */
export function providerContract<C, A, H>(name: string, options: ContractOptions<C, A, H>): void {
  describe(`the provider contract, kept by ${name}`, () => {
    let harness: ContractHarness<C, A, H>
    beforeAll(async () => {
      harness = await options.open()
    })
    afterAll(() => harness?.cleanup())
    const current = () => harness

    it('reports correctly whether it makes machines', () => {
      expect(harness.provider.makesMachines).toBe(options.makesMachines)
    })
    configContract(current)
    allocationContract(current)
    lifeContract(current, options.makesMachines)
    if (options.makesMachines) {
      makingContract(current)
      crashContract(current)
      foreignContract(current)
    }
    if (options.keepsSnapshots === true) snapshotContract(current)
    else
      it('says that it keeps no snapshots by leaving the power out', () => {
        expect(harness.provider.snapshots).toBeUndefined()
      })
  })
}

export type Current<C, A, H> = () => ContractHarness<C, A, H>

function configContract<C, A, H>(current: Current<C, A, H>): void {
  it('parses every example of its options, and parses the result again to the same', () => {
    const { provider, configExamples } = current()
    expect(configExamples.length).toBeGreaterThan(0)
    for (const example of configExamples) {
      const parsed = provider.configSchema.parse(example)
      expect(provider.configSchema.parse(throughJson(parsed))).toEqual(parsed)
    }
  })

  it('refuses an option that it does not know', () => {
    const { provider, configExamples } = current()
    const example = configExamples[0]
    const misspelt = { ...(typeof example === 'object' ? example : {}), memmorySize: 1 }
    expect(provider.configSchema.safeParse(misspelt).success).toBe(false)
  })
}

function allocationContract<C, A, H>(current: Current<C, A, H>): void {
  it('allocates the same when asked again, and keeps its earlier allocations', async () => {
    const { provider, makeResource } = current()
    const request = allocationRequest(await makeResource())
    const first = await provider.allocate(request)
    expect(provider.allocationSchema.parse(throughJson(first))).toEqual(first)
    expect(await provider.allocate({ ...request, known: first })).toEqual(first)
  })

  it('moves off the ports of others, and then stays where it is', async () => {
    const { provider, makeResource } = current()
    const request = allocationRequest(await makeResource())
    const takenPorts = new Set(provider.ports(await provider.allocate(request)))
    const moved = await provider.allocate({ ...request, takenPorts })
    for (const port of provider.ports(moved)) expect(takenPorts).not.toContain(port)
    expect(await provider.allocate({ ...request, takenPorts, known: moved })).toEqual(moved)
  })

  it('gives twenty machines of one deployment no port twice', async () => {
    const { provider, makeResource } = current()
    const base = allocationRequest(await makeResource())
    const siblings = new Map<AllocationRequest<C, A>['machine'], A>()
    const takenPorts = new Set<number>()
    const all: number[] = []
    for (let index = 1; index <= 20; index += 1) {
      const { machine } = await makeResource()
      const allocation = await provider.allocate({ ...base, machine, index, siblings, takenPorts })
      siblings.set(machine, allocation)
      for (const port of provider.ports(allocation)) {
        all.push(port)
        takenPorts.add(port)
      }
    }
    expect(new Set(all).size).toBe(all.length)
  })
}

function lifeContract<C, A, H>(current: Current<C, A, H>, makesMachines: boolean): void {
  it('reaches the same handle when reconciled twice, and then has nothing left to plan', async () => {
    const { provider, run, makeResource, listing } = current()
    const resource = await makeResource()
    const { handle, checkpoints } = await reconcile(current(), resource)
    expect(provider.handleSchema.parse(throughJson(handle))).toEqual(handle)
    if (makesMachines) expect(checkpoints.at(-1)).toEqual(handle)
    const before = await listing()
    const made = { ...resource, handle }
    expect((await reconcile(current(), made)).handle).toEqual(handle)
    expect(await provider.plan(made, run)).toEqual([])
    expect(await listing()).toEqual(before)
    await provider.destroy(made, run)
  })

  it('destroys an existing machine, and succeeds when the machine is gone already', async () => {
    const { provider, run, makeResource, listing } = current()
    const before = await listing()
    const resource = await makeResource()
    await provider.destroy(resource, run)
    const made = { ...resource, handle: (await reconcile(current(), resource)).handle }
    await provider.destroy(made, run)
    await provider.destroy(made, run)
    expect(await listing()).toEqual(before)
  })

  it('reports how the machine is reached, by its name and with its pinned key', async () => {
    const { provider, run, makeResource } = current()
    const resource = await makeResource()
    const target = await provider.target(resource, run)
    expect(target.machine).toBe(resource.machine)
    expect(target.hostKey).toBe(resource.hostKey)
    expect(target.port).toBeGreaterThan(0)
    expect(target.host).not.toBe('')
  })
}

function makingContract<C, A, H>(current: Current<C, A, H>): void {
  it('sees a machine absent, stopped, running, stopped and absent as it goes through its life', async () => {
    const { provider, run, makeResource } = current()
    const resource = await makeResource()
    const seen = async (state = resource) => (await provider.inspect(state, run)).kind
    expect(await seen()).toBe('absent')
    expect((await provider.plan(resource, run)).map((change) => change.action)).toEqual(['create'])
    expect(await seen()).toBe('absent')

    let made = { ...resource, handle: (await reconcile(current(), resource)).handle }
    expect(await seen(made)).toBe('stopped')
    // A start changes the allocation when another program uses the port.
    made = { ...made, allocation: (await provider.start(made, run)) ?? made.allocation }
    expect(await seen(made)).toBe('running')
    await provider.start(made, run)
    expect(await seen(made)).toBe('running')
    expect(await provider.plan(made, run)).toEqual([])
    await provider.stop(made, { graceMs: 1_000 }, run)
    expect(await seen(made)).toBe('stopped')
    await provider.stop(made, { graceMs: 1_000 }, run)
    expect(await seen(made)).toBe('stopped')
    await provider.destroy(made, run)
    expect(await seen(made)).toBe('absent')
  })

  it('destroys a running machine, and a machine whose handle was lost', async () => {
    const { provider, run, makeResource, listing } = current()
    const before = await listing()
    const resource = await makeResource()
    const made = { ...resource, handle: (await reconcile(current(), resource)).handle }
    await provider.start(made, run)
    await provider.destroy({ ...made, handle: undefined }, run)
    expect(await listing()).toEqual(before)
  })

  it('plans a change, makes it, and then has nothing left to plan', async () => {
    const { provider, run, makeResource, changedConfig } = current()
    if (changedConfig === undefined) throw new Error('a provider that makes machines has something to change')
    const resource = await makeResource()
    const made = { ...resource, handle: (await reconcile(current(), resource)).handle }
    const wanted = { ...made, config: changedConfig }
    const plan = await provider.plan(wanted, run)
    expect(plan.length).toBeGreaterThan(0)
    expect(plan.filter((change) => change.needs === 'recreate')).toEqual([])
    for (const change of plan) expect(change.detail).not.toBe('')
    const changed = { ...wanted, handle: (await reconcile(current(), wanted)).handle }
    expect(await provider.plan(changed, run)).toEqual([])
    await provider.destroy(changed, run)
  })

  it('lists its own resources with their deployment and machine', async () => {
    const { provider, run, makeResource } = current()
    const resource = await makeResource()
    const made = { ...resource, handle: (await reconcile(current(), resource)).handle }
    const mine = async () =>
      ((await provider.listOwned?.(run)) ?? []).filter((each) => each.deployment === resource.deployment.uuid)
    expect(await mine()).toEqual([
      { name: resource.name, deployment: resource.deployment.uuid, machine: resource.machine },
    ])
    await provider.destroy(made, run)
    expect(await mine()).toEqual([])
  })
}

function crashContract<C, A, H>(current: Current<C, A, H>): void {
  for (const memory of ['its last checkpoint', 'no handle at all'] as const) {
    it(`converges after a crash at each checkpoint, knowing ${memory}`, async () => {
      const { provider, run, makeResource, listing } = current()
      const before = await listing()
      const whole = await makeResource()
      const { checkpoints } = await reconcile(current(), whole)
      const normal = (await listing()).length - before.length
      await provider.destroy(whole, run)
      expect(checkpoints.length).toBeGreaterThan(0)

      for (let stopAt = 1; stopAt <= checkpoints.length; stopAt += 1) {
        const resource = await makeResource()
        const kept = await crashAtCheckpoint(current(), resource, stopAt)
        const known = { ...resource, handle: memory === 'no handle at all' ? undefined : kept }
        const { handle } = await reconcile(current(), known)
        const made = { ...resource, handle }
        expect(await provider.plan(made, run)).toEqual([])
        expect((await listing()).length - before.length).toBe(normal)
        await provider.destroy(made, run)
        expect(await listing()).toEqual(before)
      }
    })
  }

  it('leaves nothing behind when the leftovers of a crash are destroyed', async () => {
    const { provider, run, makeResource, listing } = current()
    const before = await listing()
    const resource = await makeResource()
    await crashAtCheckpoint(current(), resource, 1)
    await provider.destroy(resource, run)
    expect(await listing()).toEqual(before)
  })
}

function foreignContract<C, A, H>(current: Current<C, A, H>): void {
  it('does not touch a resource with its name and without its mark, and names it', async () => {
    const { provider, run, makeResource, createForeign } = current()
    if (createForeign === undefined)
      throw new Error('the harness of a provider that makes machines makes foreign ones')
    const resource = await makeResource()
    const foreign = await createForeign(resource)
    const seen = await provider.inspect(resource, run)
    expect(seen).toMatchObject({ kind: 'foreign', what: expect.stringContaining(resource.name) })
    const named = expect.objectContaining({
      name: 'OpsError',
      message: expect.stringContaining(resource.name),
    })
    await expect(reconcile(current(), resource)).rejects.toEqual(named)
    await expect(provider.start(resource, run)).rejects.toEqual(named)
    await expect(provider.stop(resource, { graceMs: 100 }, run)).rejects.toEqual(named)
    await expect(provider.destroy(resource, run)).rejects.toEqual(named)
    expect(await foreign.isUntouched()).toBe(true)
  })
}

export async function reconcile<C, A, H>(
  harness: ContractHarness<C, A, H>,
  resource: Resource<C, A, H>,
): Promise<{ handle: H; checkpoints: H[] }> {
  const checkpoints: H[] = []
  const checkpoint = async (handle: H) => {
    checkpoints.push(structuredClone(handle))
  }
  const options = { allowRestart: true, allowRecreate: false, checkpoint }
  const handle = await harness.provider.reconcile(resource, options, harness.run)
  return { handle, checkpoints }
}

class Crash extends Error {}

/** Stops a reconcile right after the n-th checkpoint, and returns the handle of this checkpoint. */
async function crashAtCheckpoint<C, A, H>(
  harness: ContractHarness<C, A, H>,
  resource: Resource<C, A, H>,
  stopAt: number,
): Promise<H | undefined> {
  let count = 0
  let kept: H | undefined
  const checkpoint = async (handle: H) => {
    kept = structuredClone(handle)
    count += 1
    if (count === stopAt) throw new Crash('the process ends here')
  }
  const options = { allowRestart: true, allowRecreate: false, checkpoint }
  await expect(harness.provider.reconcile(resource, options, harness.run)).rejects.toBeInstanceOf(Crash)
  return kept
}

function allocationRequest<C, A, H>(resource: Resource<C, A, H>): AllocationRequest<C, A> {
  return {
    deployment: resource.deployment.uuid,
    machine: resource.machine,
    index: resource.index,
    config: resource.config,
    known: undefined,
    takenPorts: new Set(),
    siblings: new Map(),
  }
}

/** Converts a value through JSON, as the state does. */
function throughJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value))
}
