import { readFileSync, rmSync } from 'node:fs'
import { z } from 'zod'
import type { Ssh } from '../src/core/ssh.js'
import { deploy } from '../src/deploy/deploy.js'
import { runFakeDebian } from '../test/fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../test/fakes/fake-network.js'
import { createFakeOps } from '../test/fakes/fake-ops.js'
import { createFakeSsh } from '../test/fakes/fake-ssh.js'
import { standardRequest } from '../test/fakes/standard-request.js'

/** Costs on the operator host of a first deploy of many machines. */
export const FirstDeploy = z.object({
  seconds: z.number(),
  /** Longest time for which the event loop was blocked, without the time of other processes. */
  blockedMs: z.number(),
  /** Longest processor time of one piece of work. The rest of `blockedMs` is a wait for the disk or the host. */
  workedMs: z.number(),
  /** Highest number of simultaneous connections. */
  connections: z.number(),
  rssMiB: z.number(),
})
export type FirstDeploy = z.infer<typeof FirstDeploy>

/** Deploys machines of the fake provider for the first time; only the engine and the store are real. */
export async function firstDeploy(count: number, maxConcurrent: number): Promise<FirstDeploy> {
  const names = Array.from({ length: count }, (_, index) => `m${String(index + 1).padStart(4, '0')}`)
  const ops = await createFakeOps({ network: fakeNetwork(names.map((name) => fakeMachine(name))) })
  const ssh = createFakeSsh()
  runFakeDebian(Object.assign(ops, { ssh }))
  const watched = countConnections(ssh)
  Object.assign(ops, { ssh: watched.ssh })
  await ops.store.create({ name: undefined, expressions: ['/net.nix'], searchPath: [], args: {} })
  const loop = watchLoop()
  let rss = 0
  const sampler = setInterval(() => {
    rss = Math.max(rss, process.memoryUsage.rss())
  }, 50)
  try {
    const begin = performance.now()
    const { results } = await deploy(ops, { ...standardRequest, deployment: undefined, maxConcurrent })
    const seconds = (performance.now() - begin) / 1000
    loop.end()
    const failed = results.filter(({ outcome }) => outcome !== 'changed')
    if (failed.length > 0 || results.length !== count) throw new Error(JSON.stringify(failed.slice(0, 3)))
    return {
      seconds,
      ...loop.most(),
      connections: watched.most(),
      rssMiB: Math.max(rss, process.memoryUsage.rss()) / 1024 / 1024,
    }
  } finally {
    clearInterval(sampler)
    rmSync(ops.folder, { recursive: true, force: true })
  }
}

function countConnections(ssh: Ssh): { ssh: Ssh; most(): number } {
  let open = 0
  let most = 0
  const connect: Ssh['connect'] = async (target, options) => {
    const connected = await ssh.connect(target, options)
    const { host } = connected
    open += 1
    most = Math.max(most, open)
    let closed = false
    const close = () => {
      if (!closed) open -= 1
      closed = true
      host.close()
    }
    return { ...connected, host: { ...host, close } }
  }
  return { ssh: { ...ssh, connect }, most: () => most }
}

const tickMs = 2

/** Measures repeatedly how late a timer fires, minus the time in which other processes had the processor. */
function watchLoop(): { end(): void; most(): Pick<FirstDeploy, 'blockedMs' | 'workedMs'> } {
  let most = { blockedMs: 0, workedMs: 0 }
  let last = { at: performance.now(), ...threadTimes() }
  const timer = setInterval(() => {
    const now = { at: performance.now(), ...threadTimes() }
    const late = now.at - last.at - tickMs - (now.waitedMs - last.waitedMs)
    most = {
      blockedMs: Math.max(most.blockedMs, late),
      workedMs: Math.max(most.workedMs, now.workedMs - last.workedMs),
    }
    last = now
  }, tickMs)
  return { end: () => clearInterval(timer), most: () => most }
}

/** Reads how long this process's main thread has run and has waited for a processor (man 5 proc, schedstat). */
function threadTimes(): { workedMs: number; waitedMs: number } {
  const [worked, waited] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')
  return { workedMs: Number(worked) / 1e6, waitedMs: Number(waited) / 1e6 }
}
