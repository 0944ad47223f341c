import { mkdirSync } from 'node:fs'
import type { AnyProvider } from '../../src/core/bind-provider.js'
import type { LocalCommands } from '../../src/core/context.js'
import type { BaseImage, ImageStore } from '../../src/core/image.js'
import type { Json } from '../../src/core/json.js'
import type { PlanItem } from '../../src/core/plan.js'
import { deploy } from '../../src/deploy/deploy.js'
import { destroyMachines } from '../../src/operations/destroy.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, fakeRegistry } from '../fakes/fake-ops.js'
import { createFakeSsh, succeed } from '../fakes/fake-ssh.js'
import { standardRequest } from '../fakes/standard-request.js'

/** Verbs for the only machine of a deployment. Every verb except `deploy` starts with a deployed machine. */
export const verbs = ['deploy', 'destroy', 'change', 'recreate'] as const
export type Verb = (typeof verbs)[number]

export interface Watching {
  /** Runs after each durable write of the store. */
  readonly onWrite?: () => void
  readonly local?: LocalCommands
}

export interface OneMachine {
  readonly provider: AnyProvider
  readonly targetEnv: string
  readonly options: Json
  readonly images: ImageStore
}

/**
 * Opens an operator with the real engine, store and provider for one machine. Stand-ins replace Nix, ssh and Debian.
 */
export async function openMachineOperator(
  folder: string,
  { provider, targetEnv, options, images }: OneMachine,
  { onWrite }: Watching,
): Promise<FakeOps> {
  const definition = fakeMachine('web', {
    deployment: { targetEnv },
    rest: { providerName: provider.name, provider: options },
  })
  mkdirSync(folder, { recursive: true })
  const ops = await createFakeOps({
    folder,
    network: fakeNetwork([definition]),
    ...(onWrite === undefined ? {} : { onWrite }),
    parts: { providers: fakeRegistry([provider]), images },
  })
  const ssh = createFakeSsh()
  runFakeDebian(Object.assign(ops, { ssh }))
  ssh.answer('grow the root file system', succeed())
  if ((await ops.store.list()).length === 0)
    await ops.store.create({ expressions: ['/net.nix'], searchPath: [], args: {} })
  return ops
}

/** Runs the verb, and throws if a machine fails. */
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

/** Creates an image store that has every image. */
export function imageStoreOf(imageOf: (reference: string) => BaseImage): ImageStore {
  return {
    list: async () => [],
    find: async (reference) => imageOf(reference),
    ensure: async (reference) => imageOf(reference),
    remove: async () => [],
  }
}
