import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { LibvirtConfig } from '../../providers/libvirt/config.js'
import { createLibvirtProvider } from '../../providers/libvirt/index.js'
import { bindProvider } from '../../src/core/bind-provider.js'
import type { LocalCommands } from '../../src/core/context.js'
import type { BaseImage, ImageStore } from '../../src/core/image.js'
import type { PlanItem } from '../../src/core/plan.js'
import { deploy } from '../../src/deploy/deploy.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { destroyMachines } from '../../src/operations/destroy.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, fakeRegistry } from '../fakes/fake-ops.js'
import { createFakeSsh, succeed } from '../fakes/fake-ssh.js'
import { standardRequest } from '../fakes/standard-request.js'

/** What is done to the one machine of a deployment; all but the first begin with what the first made. */
export const verbs = ['deploy', 'destroy', 'change', 'recreate'] as const
export type Verb = (typeof verbs)[number]

/** How a write of the store is called among the points of a crashing operator. */
export const storeWrite = 'write of the store'

/** Where one deployment lives. */
export const Place = z.object({
  /** State, and what the made-up parts keep. */
  folder: z.string(),
  /** Holds the base images `empty.qcow2` and `other.qcow2`. */
  images: z.string(),
  /** A storage pool of the session, and its folder, in which the disks lie. */
  pool: z.string(),
  poolFolder: z.string(),
  /** Of 127.0.0.1, for a change to forward. */
  port: z.number(),
})
export type Place = z.infer<typeof Place>

export interface Watching {
  /** After each durable write of the store. */
  readonly onWrite?: () => void
  readonly local?: LocalCommands
}

/**
 * The real engine, store and libvirt provider; made up are Nix, the way in over ssh, and what Debian would do. Its
 * machine has nothing to boot from: the firmware says so and waits.
 */
export async function openOperator(place: Place, verb: Verb, watching: Watching = {}): Promise<FakeOps> {
  const provider = bindProvider(createLibvirtProvider({ local: watching.local ?? localCommands }))
  const definition = fakeMachine('web', {
    deployment: { targetEnv: 'libvirtd' },
    rest: {
      providerName: provider.name,
      provider: optionsFor(place, verb),
    },
  })
  mkdirSync(place.folder, { recursive: true })
  const ops = await createFakeOps({
    folder: place.folder,
    network: fakeNetwork([definition]),
    ...(watching.onWrite === undefined ? {} : { onWrite: watching.onWrite }),
    parts: { providers: fakeRegistry([provider]), images: imagesIn(place.images) },
  })
  const ssh = createFakeSsh()
  runFakeDebian(Object.assign(ops, { ssh }))
  ssh.answer('grow the root file system', succeed())
  if ((await ops.store.list()).length === 0)
    await ops.store.create({ expressions: ['/net.nix'], searchPath: [], args: {} })
  return ops
}

function optionsFor({ pool, port }: Place, verb: Verb): LibvirtConfig {
  const options = {
    baseImage: 'empty',
    baseImageSize: 1,
    memorySize: 64,
    storagePool: pool,
    extraDisks: { data: 1 },
    networks: [],
    outbound: false,
    // Whether KVM works is not asked, which would cost a QEMU.
    domainType: 'qemu',
  }
  const changed = {
    baseImageSize: 2,
    extraDisks: { data: 1, more: 1 },
    forwardPorts: [{ host: port, guest: 80 }],
    autostart: true,
  }
  if (verb === 'change') return LibvirtConfig.parse({ ...options, ...changed })
  return LibvirtConfig.parse(verb === 'recreate' ? { ...options, baseImage: 'other' } : options)
}

/** Does it, and fails where a machine does. */
export async function operate(ops: FakeOps, verb: Verb): Promise<void> {
  const results =
    verb === 'destroy'
      ? await destroyMachines(ops, { deployment: undefined, selection: {}, yes: true, maxConcurrent: 2 })
      : (await deploy(ops, { ...standardRequest, deployment: undefined, allowRecreate: verb === 'recreate' }))
          .results
  if (results.some((row) => row.outcome === 'failed')) throw new Error(`${verb}: ${JSON.stringify(results)}`)
}

/** What a deploy would do now. */
export async function plannedItems(ops: FakeOps): Promise<PlanItem[]> {
  const { plan } = await deploy(ops, { ...standardRequest, deployment: undefined, dryRun: true })
  return plan.machines.flatMap(({ items }) => items)
}

function imagesIn(folder: string): ImageStore {
  const imageOf = (reference: string): BaseImage => ({
    id: `${reference}-1`,
    reference,
    disk: join(folder, `${reference}.qcow2`),
    format: 'qcow2',
    virtualBytes: 16 * 1024 ** 2,
    identity: 'fwcfg',
  })
  return {
    list: async () => [],
    find: async (reference) => imageOf(reference),
    ensure: async (reference) => imageOf(reference),
    remove: async () => [],
  }
}
