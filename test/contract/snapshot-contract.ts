import { expect, it } from 'vitest'
import type { Resource, Snapshots } from '../../src/core/provider.js'
import { type ContractHarness, type Current, reconcile } from './provider-contract.js'

/** Defines the tests of everything that the engine expects from a provider with snapshots. */
export function snapshotContract<C, A, H>(current: Current<C, A, H>): void {
  offContract(current)
  liveContract(current)
  changedContract(current)
  refusalContract(current)
}

function offContract<C, A, H>(current: Current<C, A, H>): void {
  it('brings back the disk of a machine that was off, and leaves the machine off', async () => {
    const { run } = current()
    const { power, disk, made, destroy } = await machine(current())
    expect(await power.list(made, run)).toEqual([])
    await disk.write(made, 'before')
    await power.create(made, { name: 'one', description: 'a "first" <one> & more' }, run)
    await disk.write(made, 'after')
    await power.create(made, { name: 'two', description: undefined }, run)
    expect(await power.list(made, run)).toMatchObject([
      { name: 'one', memory: false, description: 'a "first" <one> & more' },
      { name: 'two', memory: false, description: undefined },
    ])
    for (const { at } of await power.list(made, run)) {
      expect(new Date(at).toISOString()).toBe(at)
      expect(Math.abs(Date.now() - Date.parse(at))).toBeLessThan(3_600_000)
    }
    await disk.write(made, 'later')
    await power.restore(made, 'one', run)
    expect(await disk.read(made)).toBe('before')
    expect(await seen(current(), made)).toBe('stopped')
    await power.restore(made, 'two', run)
    expect(await disk.read(made)).toBe('after')
    await destroy()
  })

  it('restores a machine that runs to a snapshot without memory: it is off then', async () => {
    const { provider, run } = current()
    const { power, disk, made, destroy } = await machine(current())
    await disk.write(made, 'before')
    await power.create(made, { name: 'off', description: undefined }, run)
    await provider.start(made, run)
    await power.restore(made, 'off', run)
    expect(await seen(current(), made)).toBe('stopped')
    expect(await disk.read(made)).toBe('before')
    expect(await provider.plan(made, run)).toEqual([])
    await destroy()
  })
}

function liveContract<C, A, H>(current: Current<C, A, H>): void {
  it('makes a snapshot of a machine that goes on running, and restores it with its memory', async () => {
    const { provider, run } = current()
    const { power, disk, made, destroy } = await machine(current())
    await disk.write(made, 'before')
    await provider.start(made, run)
    await power.create(made, { name: 'live', description: undefined }, run)
    expect(await seen(current(), made)).toBe('running')
    expect(await power.list(made, run)).toMatchObject([{ name: 'live', memory: true }])
    await provider.stop(made, { graceMs: 0 }, run)
    await disk.write(made, 'after')
    for (const round of ['from off', 'from running']) {
      await power.restore(made, 'live', run)
      // Some hypervisors only restore the memory, and the machine continues from the memory at the next
      // start.
      await provider.start(made, run)
      expect(await seen(current(), made), round).toBe('running')
      expect(await provider.plan(made, run)).toEqual([])
    }
    await provider.stop(made, { graceMs: 0 }, run)
    expect(await disk.read(made)).toBe('before')
    await destroy()
  })
}

function changedContract<C, A, H>(current: Current<C, A, H>): void {
  it('keeps snapshots through a change, plans that change again after a restore, and makes it', async () => {
    const { provider, run, changedConfig: anyChange, changedWithSnapshots } = current()
    const changedConfig = changedWithSnapshots ?? anyChange
    if (changedConfig === undefined) throw new Error('a provider that makes machines has something to change')
    const { power, disk, made, destroy } = await machine(current())
    await disk.write(made, 'before')
    await power.create(made, { name: 'before', description: undefined }, run)
    const planned = await provider.plan({ ...made, config: changedConfig }, run)
    const changed = { ...made, config: changedConfig }
    const after = { ...changed, handle: (await reconcile(current(), changed)).handle }
    expect(await power.list(after, run)).toMatchObject([{ name: 'before' }])
    await disk.write(after, 'after')
    for (const loss of await power.losses(after, 'before', run)) expect(loss).not.toBe('')
    await power.restore(after, 'before', run)
    expect(await disk.read(after)).toBe('before')
    // A snapshot lacks settings that exist only on the operator host, such as the autostart of the machine.
    const due = await provider.plan(after, run)
    expect(due.length).toBeGreaterThan(0)
    expect(planned).toEqual(expect.arrayContaining(due))
    const again = { ...after, handle: (await reconcile(current(), after)).handle }
    expect(await provider.plan(again, run)).toEqual([])
    expect(await disk.read(again)).toBe('before')
    await destroy()
  })

  it('gives a restored machine the ports that it has now, and not those of the snapshot', async () => {
    const { provider, run } = current()
    const { power, made, destroy } = await machine(current())
    await provider.start(made, run)
    await power.create(made, { name: 'live', description: undefined }, run)
    await provider.stop(made, { graceMs: 0 }, run)
    const takenPorts = new Set(provider.ports(made.allocation))
    const { deployment, machine: name, index, config } = made
    const request = { deployment: deployment.uuid, machine: name, index, config, siblings: new Map() }
    const allocation = await provider.allocate({ ...request, known: made.allocation, takenPorts })
    expect(provider.ports(allocation)).not.toEqual(provider.ports(made.allocation))
    const moved = { ...made, allocation }
    await reconcile(current(), moved)
    await power.restore(moved, 'live', run)
    await provider.start(moved, run)
    expect(await provider.plan(moved, run)).toEqual([])
    await destroy()
  })

  it('destroys a machine with its snapshots, running and off', async () => {
    const { provider, run, listing } = current()
    const before = await listing()
    for (const power of ['off', 'running']) {
      const { power: snapshots, made, destroy } = await machine(current())
      await snapshots.create(made, { name: 'one', description: undefined }, run)
      await provider.start(made, run)
      await snapshots.create(made, { name: 'two', description: undefined }, run)
      if (power === 'off') await provider.stop(made, { graceMs: 0 }, run)
      await destroy()
      expect(await listing()).toEqual(before)
      expect(await snapshots.list(made, run)).toEqual([])
    }
  })
}

function refusalContract<C, A, H>(current: Current<C, A, H>): void {
  it('refuses a name that exists, and still restores the first snapshot of that name', async () => {
    const { run } = current()
    const { power, disk, made, destroy } = await machine(current())
    await disk.write(made, 'before')
    await power.create(made, { name: 'one', description: 'first' }, run)
    await disk.write(made, 'after')
    await expect(power.create(made, { name: 'one', description: 'second' }, run)).rejects.toMatchObject({
      name: 'OpsError',
      code: 'SNAPSHOT_EXISTS',
      machine: made.machine,
    })
    expect(await power.list(made, run)).toMatchObject([{ name: 'one', description: 'first' }])
    await power.restore(made, 'one', run)
    expect(await disk.read(made)).toBe('before')
    await destroy()
  })

  it('deletes a snapshot and leaves the machine alone; a second time there is nothing to do', async () => {
    const { provider, run } = current()
    const { power, disk, made, destroy } = await machine(current())
    await disk.write(made, 'before')
    await power.create(made, { name: 'one', description: undefined }, run)
    await disk.write(made, 'after')
    await power.create(made, { name: 'two', description: undefined }, run)
    await power.delete(made, 'one', run)
    await power.delete(made, 'one', run)
    expect(await power.list(made, run)).toMatchObject([{ name: 'two' }])
    expect(await disk.read(made)).toBe('after')
    await provider.start(made, run)
    await power.create(made, { name: 'live', description: undefined }, run)
    await power.delete(made, 'live', run)
    await power.delete(made, 'two', run)
    expect(await power.list(made, run)).toEqual([])
    expect(await seen(current(), made)).toBe('running')
    await power.create(made, { name: 'one', description: undefined }, run)
    await destroy()
  })

  it('names the machine and the snapshot when there is no snapshot of that name', async () => {
    const { run } = current()
    const { power, made, destroy } = await machine(current())
    const named = expect.objectContaining({
      name: 'OpsError',
      code: 'NO_SNAPSHOT',
      machine: made.machine,
      message: expect.stringContaining("'nope'"),
    })
    await expect(power.restore(made, 'nope', run)).rejects.toEqual(named)
    await expect(power.losses(made, 'nope', run)).rejects.toEqual(named)
    expect(await seen(current(), made)).toBe('stopped')
    await destroy()
  })

  it('refuses a snapshot of a machine that does not exist', async () => {
    const { run, makeResource } = current()
    const resource = await makeResource()
    await expect(
      powerOf(current()).create(resource, { name: 'one', description: undefined }, run),
    ).rejects.toMatchObject({ name: 'OpsError', machine: resource.machine })
    expect(await powerOf(current()).list(resource, run)).toEqual([])
    await powerOf(current()).delete(resource, 'one', run)
  })

  it('neither makes, restores nor deletes snapshots of what is not ours', async () => {
    const { run, makeResource, createForeign } = current()
    if (createForeign === undefined)
      throw new Error('the harness of a provider that makes machines makes foreign ones')
    const resource = await makeResource()
    const foreign = await createForeign(resource)
    const named = expect.objectContaining({
      name: 'OpsError',
      message: expect.stringContaining(resource.name),
    })
    const power = powerOf(current())
    await expect(power.list(resource, run)).rejects.toEqual(named)
    await expect(power.create(resource, { name: 'one', description: undefined }, run)).rejects.toEqual(named)
    await expect(power.restore(resource, 'one', run)).rejects.toEqual(named)
    await expect(power.delete(resource, 'one', run)).rejects.toEqual(named)
    expect(await foreign.isUntouched()).toBe(true)
  })
}

function powerOf<C, A, H>({ provider }: ContractHarness<C, A, H>): Snapshots<C, A, H> {
  if (provider.snapshots === undefined) throw new Error('a provider that keeps snapshots has the power')
  return provider.snapshots
}

/** Creates a stopped machine, with the helpers that the tests need. */
async function machine<C, A, H>(
  harness: ContractHarness<C, A, H>,
): Promise<{
  power: Snapshots<C, A, H>
  disk: NonNullable<ContractHarness<C, A, H>['disk']>
  made: Resource<C, A, H>
  destroy(): Promise<void>
}> {
  const { provider, run, makeResource, disk } = harness
  if (disk === undefined) throw new Error('the harness of a provider with snapshots reads and writes disks')
  const resource = await makeResource()
  const made = { ...resource, handle: (await reconcile(harness, resource)).handle }
  return { power: powerOf(harness), disk, made, destroy: () => provider.destroy(made, run) }
}

async function seen<C, A, H>(
  { provider, run }: ContractHarness<C, A, H>,
  resource: Resource<C, A, H>,
): Promise<string> {
  return (await provider.inspect(resource, run)).kind
}
