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

/** The changes of the one machine of a deployment; all but the first begin with the result of the first. */
export const verbs = ['deploy', 'destroy', 'change', 'recreate'] as const
export type Verb = (typeof verbs)[number]

/** The name of a store write among the points of a crashing operator. */
export const storeWrite = 'write of the store'

/** The location of one deployment. */
export const Place = z.object({
  /** The folder of the state and of the made-up parts. */
  folder: z.string(),
  /** The folder with the base images `empty.qcow2` and `other.qcow2`. */
  images: z.string(),
  /** A storage pool of the session, and the folder of its disks. */
  pool: z.string(),
  poolFolder: z.string(),
  /** A port of 127.0.0.1 that a change forwards. */
  port: z.number(),
})
export type Place = z.infer<typeof Place>

export interface Watching {
  /** Runs after each durable write of the store. */
  readonly onWrite?: () => void
  readonly local?: LocalCommands
}

/**
 * Opens the real engine, store and libvirt provider; Nix, ssh and Debian are made up. The machine has nothing to boot
 * from: its firmware reports that and waits.
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
    // The test assumes no KVM, because a check would start a QEMU.
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

/** Runs the verb, and fails if a machine fails. */
export async function operate(ops: FakeOps, verb: Verb): Promise<void> {
  const results =
    verb === 'destroy'
      ? await destroyMachines(ops, { deployment: undefined, selection: {}, yes: true, maxConcurrent: 2 })
      : (await deploy(ops, { ...standardRequest, deployment: undefined, allowRecreate: verb === 'recreate' }))
          .results
  if (results.some((row) => row.outcome === 'failed')) throw new Error(`${verb}: ${JSON.stringify(results)}`)
}

/** Returns the plan that a deploy would carry out now. */
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
