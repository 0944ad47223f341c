import { failure } from '../../src/core/errors.js'
import type { Resource, Snapshots } from '../../src/core/provider.js'
import type { FakeHypervisor, FakeSnapshot } from './fake-hypervisor.js'
import { type FakeAllocation, type FakeConfig, type FakeHandle, freePort } from './fake-provider.js'

type FakeResource = Resource<FakeConfig, FakeAllocation, FakeHandle>

/** Creates snapshot support for machines of the made-up hypervisor. */
export function fakeSnapshots(
  hypervisor: FakeHypervisor,
  refuseForeign: (resource: FakeResource) => void,
  strangers: ReadonlySet<number>,
): Snapshots<FakeConfig, FakeAllocation, FakeHandle> {
  const found = ({ name, machine }: FakeResource, wanted: string): FakeSnapshot => {
    const snapshot = hypervisor.snapshots(name).find((each) => each.name === wanted)
    if (snapshot !== undefined) return snapshot
    throw failure('NO_SNAPSHOT', `machine '${machine}' has no snapshot '${wanted}'`, { machine })
  }
  return {
    list: async (resource) => {
      refuseForeign(resource)
      return hypervisor
        .snapshots(resource.name)
        .map(({ name, at, description, running }) => ({
          name,
          at,
          description,
          memory: running !== undefined,
        }))
        .sort((a, b) => a.at.localeCompare(b.at))
    },
    create: async (resource, { name, description }) => {
      refuseForeign(resource)
      const { machine } = resource
      const domain = hypervisor.domain(resource.name)
      const disk = hypervisor.disk(resource.name)
      if (domain === undefined || disk === undefined)
        throw failure('NO_DOMAIN', `machine '${machine}' does not exist`, { machine })
      if (hypervisor.snapshots(resource.name).some((each) => each.name === name))
        throw failure('SNAPSHOT_EXISTS', `machine '${machine}' already has a snapshot '${name}'`, { machine })
      const at = new Date().toISOString()
      const running = hypervisor.running(resource.name)
      hypervisor.makeSnapshot(resource.name, { name, at, description, domain, disk, running })
    },
    losses: async (resource, name) => {
      refuseForeign(resource)
      const { disk } = found(resource, name)
      const now = hypervisor.disk(resource.name)
      if (now === undefined || now.gib === disk.gib) return []
      return [`its disk has ${disk.gib} GiB again instead of ${now.gib}`]
    },
    restore: async (resource, name) => {
      refuseForeign(resource)
      const snapshot = found(resource, name)
      const port = freePort(resource.allocation.sshPort, strangers)
      hypervisor.revert(resource.name, { ...snapshot, domain: { ...snapshot.domain, port } })
      return port === resource.allocation.sshPort ? undefined : { ...resource.allocation, sshPort: port }
    },
    delete: async (resource, name) => {
      refuseForeign(resource)
      if (hypervisor.snapshots(resource.name).some((each) => each.name === name))
        hypervisor.removeSnapshot(resource.name, name)
    },
  }
}
