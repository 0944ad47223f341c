import { createHash } from 'node:crypto'
import { z } from 'zod'
import { failure, usageError } from '../../src/core/errors.js'
import type {
  AllocationRequest,
  Observation,
  Provider,
  Resource,
  ResourceChange,
} from '../../src/core/provider.js'
import type { FakeDomain, FakeHypervisor } from './fake-hypervisor.js'
import { fakeSnapshots } from './fake-snapshots.js'

export const FakeConfig = z.strictObject({
  /** The size in MiB; a change needs a restart. */
  memorySize: z.number().int().positive().default(1024),
  /** The CPU shares, which change live. */
  cpuShares: z.number().int().positive().default(100),
  /** The size in GiB, which grows live and never shrinks. */
  diskSize: z.number().int().positive().default(10),
  /** The image; a change needs a new machine. */
  baseImage: z.string().min(1).default('fake-image'),
  /** The forwarded ports, without the port for ssh. */
  forwardPorts: z.array(z.number().int()).default([]),
})
export type FakeConfig = z.infer<typeof FakeConfig>

export const FakeAllocation = z.strictObject({
  sshPort: z.number().int(),
  ports: z.array(z.number().int()),
  address: z.string(),
})
export type FakeAllocation = z.infer<typeof FakeAllocation>

export const FakeHandle = z.strictObject({
  disk: z.string(),
  image: z.string(),
  domain: z.string().optional(),
})
export type FakeHandle = z.infer<typeof FakeHandle>

type FakeResource = Resource<FakeConfig, FakeAllocation, FakeHandle>

export interface FakeProviderOptions {
  /** The host's ports that another program uses; a start detects them. */
  readonly strangerPorts?: ReadonlySet<number>
}

/**
 * Creates a provider for the made-up hypervisor. Like a real provider, it brings machines to the wanted state, and
 * touches only marked objects.
 */
export function createFakeProvider(
  hypervisor: FakeHypervisor,
  options: FakeProviderOptions = {},
): Provider<FakeConfig, FakeAllocation, FakeHandle> {
  const strangers = options.strangerPorts ?? new Set<number>()
  return {
    name: 'fake',
    targetEnvs: ['fake'],
    optionKey: 'fake',
    portOption: 'deployment.fake.forwardPorts',
    optionsNix: '/nonexistent/options.nix',
    configSchema: FakeConfig,
    allocationSchema: FakeAllocation,
    handleSchema: FakeHandle,
    makesMachines: true,
    imageReference: (config) => config.baseImage,
    imageId: (handle) => handle.image,
    ports: (allocation) => [allocation.sshPort, ...allocation.ports],
    physical: (allocation) => ({ privateIPv4: allocation.address }),
    publishedUrls: (_, allocation) => allocation.ports.map((port) => `http://127.0.0.1:${port}/`),
    allocate: async (request) => allocate(request),
    inspect: async (resource) => observe(hypervisor, resource),
    plan: async (resource) => changes(hypervisor, resource),
    reconcile: async (resource, { allowRecreate, checkpoint }) => {
      refuseForeign(hypervisor, resource)
      const wanted = changes(hypervisor, resource)
      if (wanted.some((change) => change.needs === 'recreate')) {
        if (!allowRecreate)
          throw failure('NEEDS_RECREATE', `machine '${resource.machine}' would have to be made anew`)
        remove(hypervisor, resource.name)
      }
      const { name, config } = resource
      const disk = hypervisor.disk(name)
      const image = disk?.image ?? config.baseImage
      if (disk?.lostData === true && !allowRecreate)
        throw failure('NEEDS_RECREATE', `machine '${resource.machine}': its data disk is gone`)
      if (disk === undefined || disk.gib !== config.diskSize || disk.lostData === true) {
        if (disk === undefined && resource.image === undefined)
          throw failure('NO_IMAGE', `machine '${resource.machine}': its base image has not been built yet`)
        hypervisor.makeDisk(name, {
          ...disk,
          owner: resource.deployment.uuid,
          gib: config.diskSize,
          image,
          lostData: undefined,
        })
      }
      await checkpoint({ disk: name, image })
      const domain = wantedDomain(resource)
      if (JSON.stringify(hypervisor.domain(name)) !== JSON.stringify(domain)) hypervisor.define(name, domain)
      const handle = { disk: name, image, domain: name }
      await checkpoint(handle)
      return handle
    },
    start: async (resource) => {
      refuseForeign(hypervisor, resource)
      const domain = hypervisor.domain(resource.name)
      if (domain === undefined) throw failure('NO_DOMAIN', `machine '${resource.machine}' does not exist`)
      if (hypervisor.running(resource.name) !== undefined) return undefined
      const moved = freePort(resource.allocation.sshPort, strangers)
      if (moved !== domain.port) hypervisor.define(resource.name, { ...domain, port: moved })
      hypervisor.start(resource.name)
      return moved === resource.allocation.sshPort ? undefined : { ...resource.allocation, sshPort: moved }
    },
    stop: async (resource) => {
      refuseForeign(hypervisor, resource)
      if (hypervisor.running(resource.name) !== undefined) hypervisor.stop(resource.name)
    },
    destroy: async (resource) => {
      refuseForeign(hypervisor, resource)
      remove(hypervisor, resource.name)
    },
    target: async (resource) => ({
      machine: resource.machine,
      host: '127.0.0.1',
      port: resource.allocation.sshPort,
      user: 'root',
      hostKey: resource.hostKey,
      identityFiles: resource.identity === undefined ? [] : [resource.identity.identityFile],
      useAgent: false,
      jump: undefined,
      proxyCommand: undefined,
      sshOptions: resource.target.sshOptions,
      privilegeEscalation: resource.target.privilegeEscalation,
    }),
    resourceId: (resource) => resource.name.slice(0, 18),
    listOwned: async () =>
      hypervisor.listing().domains.flatMap((name) => {
        const { owner, machine } = hypervisor.domain(name) ?? {}
        return owner === undefined ? [] : [{ name, deployment: owner, machine: machine ?? '' }]
      }),
    console: {
      command: async (resource) => ['echo', `console of ${resource.name}`],
      logFile: (resource) => resource.console,
    },
    snapshots: fakeSnapshots(hypervisor, (resource) => refuseForeign(hypervisor, resource), strangers),
  }
}

/** Allocates a stable port: a function of deployment and machine that skips taken ports. */
function allocate(request: AllocationRequest<FakeConfig, FakeAllocation>): FakeAllocation {
  const taken = new Set(request.takenPorts)
  for (const sibling of request.siblings.values()) {
    for (const port of [sibling.sshPort, ...sibling.ports]) taken.add(port)
  }
  const hash = createHash('sha256').update(`${request.deployment}/${request.machine}`).digest()
  const first = request.known?.sshPort ?? 20_000 + (hash.readUInt32BE(0) % 10_000)
  return {
    sshPort: freePort(first, taken),
    ports: request.config.forwardPorts,
    address: `192.0.2.${request.index}`,
  }
}

export function freePort(first: number, taken: ReadonlySet<number>): number {
  let port = first
  while (taken.has(port)) port += 1
  return port
}

function observe(hypervisor: FakeHypervisor, resource: FakeResource): Observation {
  const { name, deployment } = resource
  const domain = hypervisor.domain(name)
  if (domain !== undefined && domain.owner !== deployment.uuid)
    return { kind: 'foreign', what: `fake domain '${name}'` }
  const disk = hypervisor.disk(name)
  if (disk !== undefined && disk.owner !== deployment.uuid)
    return { kind: 'foreign', what: `fake disk '${name}'` }
  if (domain === undefined) return { kind: 'absent' }
  return { kind: hypervisor.running(name) === undefined ? 'stopped' : 'running' }
}

function refuseForeign(hypervisor: FakeHypervisor, resource: FakeResource): void {
  const seen = observe(hypervisor, resource)
  if (seen.kind !== 'foreign') return
  throw failure(
    'FOREIGN',
    `machine '${resource.machine}': ${seen.what} exists and does not belong to this deployment; it was not touched`,
    {
      machine: resource.machine,
    },
  )
}

function wantedDomain(resource: FakeResource): FakeDomain {
  const { config, allocation, identity, deployment, machine } = resource
  return {
    owner: deployment.uuid,
    machine,
    memorySize: config.memorySize,
    cpuShares: config.cpuShares,
    port: allocation.sshPort,
    ...(identity === undefined ? {} : { hostKey: identity.hostKeyPublic }),
  }
}

function changes(hypervisor: FakeHypervisor, resource: FakeResource): ResourceChange[] {
  const { name, config, machine } = resource
  const domain = hypervisor.domain(name)
  const disk = hypervisor.disk(name)
  if (domain === undefined || disk === undefined) {
    return [{ action: 'create', detail: `${config.memorySize} MiB on ${config.baseImage}`, needs: 'nothing' }]
  }
  if (config.diskSize < disk.gib) {
    throw usageError(`machine '${machine}': a disk cannot shrink (${disk.gib} → ${config.diskSize} GiB)`, {
      machine,
    })
  }
  if (disk.lostBase === true)
    return [
      {
        action: 'recreate',
        detail: `the base image ${disk.image} is gone`,
        needs: 'recreate',
        hint: 'put it back',
      },
    ]
  if (config.baseImage !== disk.image) {
    return [{ action: 'recreate', detail: `image ${disk.image} → ${config.baseImage}`, needs: 'recreate' }]
  }
  const found: ResourceChange[] = []
  if (disk.lostData === true)
    found.push({ action: 'recreate', detail: 'disk data is gone', needs: 'new-disk', hint: 'put it back' })
  const compare = (what: string, from: number, to: number, needs: ResourceChange['needs']) => {
    if (from !== to) found.push({ action: 'change', detail: `${what} ${from} → ${to}`, needs })
  }
  const running = hypervisor.running(name)
  if (running === undefined) compare('memory', domain.memorySize, config.memorySize, 'nothing')
  else compare('memory', running.memorySize, config.memorySize, 'restart')
  compare('cpuShares', domain.cpuShares, config.cpuShares, 'nothing')
  compare('disk', disk.gib, config.diskSize, 'nothing')
  return found
}

/** Removes a machine in several steps, as a real provider does. */
function remove(hypervisor: FakeHypervisor, name: string): void {
  if (hypervisor.running(name) !== undefined) hypervisor.stop(name)
  for (const snapshot of hypervisor.snapshots(name)) hypervisor.removeSnapshot(name, snapshot.name)
  if (hypervisor.domain(name) !== undefined) hypervisor.undefine(name)
  if (hypervisor.disk(name) !== undefined) hypervisor.removeDisk(name)
}
