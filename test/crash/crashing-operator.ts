/**
 * Runs one verb on made-up machines in a separate process, which stops itself at a given point. Nothing
 * runs after the SIGKILL. Points are writes of the store and changes to the hypervisor. fake.crash.test.ts
 * starts this program.
 */
import { z } from 'zod'
import { deploy } from '../../src/deploy/deploy.js'
import { destroyMachines } from '../../src/operations/destroy.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps } from '../fakes/fake-ops.js'
import { serveHydra } from '../fakes/served-hydra.js'
import { standardRequest } from '../fakes/standard-request.js'
import { greenWish } from '../fixtures/hydra-wish.js'

const [folder, verb, at, nth] = z
  .tuple([
    z.string(),
    z.enum(['create', 'deploy', 'from-hydra', 'destroy']),
    z.enum(['write', 'operation', 'never']),
    z.coerce.number(),
  ])
  .parse(process.argv.slice(2))

let count = 0
let counting = false
const counted = { write: 0, operation: 0 }
const stopAt = (kind: 'write' | 'operation') => () => {
  if (!counting) return
  counted[kind] += 1
  if (kind !== at) return
  count += 1
  if (count === nth) process.kill(process.pid, 'SIGKILL')
}

const ops = await createFakeOps({
  folder,
  network: fakeNetwork([fakeMachine('web'), fakeMachine('db')]),
  onWrite: stopAt('write'),
  onOperation: stopAt('operation'),
})
runFakeDebian(ops)
// Creates the deployment unless an earlier run created it, like `create --or-modify`.
const create = async () => {
  if ((await ops.store.list()).length === 0)
    await ops.store.create({ expressions: ['/net.nix'], searchPath: [], args: {} })
}
if (verb !== 'create') await create()
counting = true
if (verb === 'create') await create()
const results = await resultsOf(verb)
if (results.some((row) => row.outcome === 'failed')) throw new Error(JSON.stringify(results))
process.stdout.write(JSON.stringify(counted))

async function resultsOf(what: typeof verb) {
  switch (what) {
    case 'deploy':
      return deployAll()
    case 'from-hydra':
      return deployFromHydra()
    case 'destroy':
      return destroyAll()
    default:
      return []
  }
}

/** Deploys the only evaluation of a modelled Hydra; the machines fetch the builds themselves. */
async function deployFromHydra() {
  const parts = ['web', 'db']
  const hydra = await serveHydra([
    {
      id: 7,
      jobs: { web: { id: 70, status: 0 }, db: { id: 71, status: 0 }, release: { id: 72, status: 0, parts } },
    },
  ])
  for (const machine of parts) ops.nix.caches.set(machine, 'ok')
  const fromHydra = { ...greenWish, source: { url: hydra.model.url, project: 'infra', jobset: 'main' } }
  try {
    return (await deploy(ops, { ...standardRequest, deployment: undefined, fromHydra })).results
  } finally {
    await hydra.close()
  }
}

async function deployAll() {
  return (await deploy(ops, { ...standardRequest, deployment: undefined })).results
}

function destroyAll() {
  return destroyMachines(ops, { deployment: undefined, selection: {}, yes: true, maxConcurrent: 2 })
}
