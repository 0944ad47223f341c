import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DeploymentUuid, MachineName, resourceName } from '../../src/core/names.js'
import type { Resource } from '../../src/core/provider.js'
import { createFakeHypervisor, type FakeHypervisor } from '../fakes/fake-hypervisor.js'
import { fakeRun } from '../fakes/fake-ops.js'
import { createFakeProvider, FakeAllocation, FakeConfig, type FakeHandle } from '../fakes/fake-provider.js'
import { providerContract } from './provider-contract.js'

type FakeResource = Resource<FakeConfig, FakeAllocation, FakeHandle>
const run = fakeRun()

let made = 0
function makeResource(overrides: Partial<FakeResource> = {}): FakeResource {
  made += 1
  const uuid = DeploymentUuid.parse(randomUUID())
  const machine = MachineName.parse(`web${made}`)
  return {
    deployment: { uuid, name: 'contract' },
    machine,
    name: resourceName(uuid, machine),
    index: 1,
    config: FakeConfig.parse({}),
    allocation: FakeAllocation.parse({ sshPort: 20_000 + made, ports: [], address: '192.0.2.1' }),
    handle: undefined,
    identity: undefined,
    image: {
      id: 'fake-image',
      reference: 'fake-image',
      disk: '/images/fake-image',
      format: 'qcow2',
      virtualBytes: 1,
      identity: 'fwcfg',
    },
    disks: '/nonexistent',
    console: '/nonexistent',
    target: {
      host: undefined,
      port: undefined,
      user: undefined,
      hostKey: undefined,
      sshOptions: [],
      privilegeEscalation: [],
    },
    hostKey: 'ssh-ed25519 AAAAfake',
    ...overrides,
  }
}

function names(hypervisor: FakeHypervisor): string[] {
  const { domains, disks, snapshots } = hypervisor.listing()
  return [
    ...domains.map((name) => `domain ${name}`),
    ...disks.map((name) => `disk ${name}`),
    ...snapshots.map((name) => `snapshot ${name}`),
  ]
}

providerContract('the fake provider', {
  makesMachines: true,
  keepsSnapshots: true,
  open: async () => {
    const folder = mkdtempSync(join(tmpdir(), 'hydra-ops-fake-'))
    const hypervisor = createFakeHypervisor(folder)
    return {
      provider: createFakeProvider(hypervisor),
      run,
      configExamples: [{}, { memorySize: 2048, diskSize: 20, forwardPorts: [8080] }],
      makeResource: async (overrides) => makeResource(overrides),
      changedConfig: FakeConfig.parse({ memorySize: 2048, cpuShares: 200, diskSize: 12 }),
      listing: async () => names(hypervisor),
      createForeign: async ({ name }) => {
        const domain = { memorySize: 1, cpuShares: 1, port: 1 }
        hypervisor.define(name, domain)
        return { isUntouched: async () => JSON.stringify(hypervisor.domain(name)) === JSON.stringify(domain) }
      },
      disk: {
        write: async ({ name }, text) => {
          const disk = hypervisor.disk(name)
          if (disk !== undefined) hypervisor.makeDisk(name, { ...disk, content: text })
        },
        read: async ({ name }) => hypervisor.disk(name)?.content,
      },
      cleanup: async () => rmSync(folder, { recursive: true }),
    }
  },
})

describe('the fake provider', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'hydra-ops-fake-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  it('converges from a stop before any of its operations: making, starting, destroying', async () => {
    const life = async (hypervisor: FakeHypervisor, resource: FakeResource) => {
      const provider = createFakeProvider(hypervisor)
      const options = { allowRestart: true, allowRecreate: false, checkpoint: async () => {} }
      const handle = await provider.reconcile(resource, options, run)
      await provider.start({ ...resource, handle }, run)
      await provider.destroy({ ...resource, handle }, run)
    }
    let total = 0
    await life(
      createFakeHypervisor(join(folder, 'whole'), () => (total += 1)),
      makeResource(),
    )
    expect(total).toBe(6)
    for (let stopAt = 1; stopAt <= total; stopAt += 1) {
      const place = join(folder, String(stopAt))
      const resource = makeResource()
      const dying = createFakeHypervisor(place, (n) => {
        if (n === stopAt) throw new Error('stopped')
      })
      await expect(life(dying, resource)).rejects.toThrow('stopped')
      const after = createFakeHypervisor(place)
      await createFakeProvider(after).reconcile(
        resource,
        { allowRestart: true, allowRecreate: false, checkpoint: async () => {} },
        run,
      )
      expect(names(after)).toEqual([`domain ${resource.name}`, `disk ${resource.name}`])
      await createFakeProvider(after).destroy(resource, run)
      expect(after.listing()).toEqual({ domains: [], disks: [], running: [], snapshots: [] })
    }
  })

  it('announces a change of memory as a restart while the machine runs, and keeps saying so until then', async () => {
    const hypervisor = createFakeHypervisor(folder)
    const provider = createFakeProvider(hypervisor)
    const resource = makeResource()
    const options = { allowRestart: false, allowRecreate: false, checkpoint: async () => {} }
    await provider.reconcile(resource, options, run)
    await provider.start(resource, run)
    const wanted = { ...resource, config: FakeConfig.parse({ memorySize: 2048 }) }
    const change = { action: 'change', detail: 'memory 1024 → 2048', needs: 'restart' }
    expect(await provider.plan(wanted, run)).toEqual([change])
    await provider.reconcile(wanted, options, run)
    expect(await provider.plan(wanted, run)).toEqual([change])
    await provider.stop(wanted, { graceMs: 0 }, run)
    await provider.start(wanted, run)
    expect(await provider.plan(wanted, run)).toEqual([])
  })

  it('makes a machine anew only when that is allowed, and refuses to shrink a disk', async () => {
    const hypervisor = createFakeHypervisor(folder)
    const provider = createFakeProvider(hypervisor)
    const resource = makeResource()
    const options = { allowRestart: true, allowRecreate: false, checkpoint: async () => {} }
    await provider.reconcile(resource, options, run)
    const other = { ...resource, config: FakeConfig.parse({ baseImage: 'another' }) }
    await expect(provider.reconcile(other, options, run)).rejects.toThrow('made anew')
    await provider.reconcile(other, { ...options, allowRecreate: true }, run)
    expect(hypervisor.disk(resource.name)?.image).toBe('another')
    const smaller = { ...other, config: FakeConfig.parse({ baseImage: 'another', diskSize: 5 }) }
    await expect(provider.plan(smaller, run)).rejects.toMatchObject({ exitCode: 2 })
  })

  it('moves once to another port when a stranger has its own', async () => {
    const resource = makeResource()
    const { sshPort } = resource.allocation
    const provider = createFakeProvider(createFakeHypervisor(folder), { strangerPorts: new Set([sshPort]) })
    await provider.reconcile(
      resource,
      { allowRestart: true, allowRecreate: false, checkpoint: async () => {} },
      run,
    )
    expect(await provider.start(resource, run)).toMatchObject({ sshPort: sshPort + 1 })
    const moved = { ...resource, allocation: { ...resource.allocation, sshPort: sshPort + 1 } }
    expect(await provider.start(moved, run)).toBeUndefined()
    expect(await provider.plan(moved, run)).toEqual([])
  })
})
