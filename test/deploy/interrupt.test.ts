import { afterEach, describe, expect, it } from 'vitest'
import { interrupted } from '../../src/core/errors.js'
import { deploy } from '../../src/deploy/deploy.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps
let folder: string

/** Opens a network with one machine. Ctrl-C comes at `interruptAt`: the `what` of a command, or a step of Nix. */
async function open(interruptAt: string | undefined, at?: string) {
  const controller = new AbortController()
  ops = await createFakeOps({
    network: fakeNetwork([fakeMachine('web')]),
    parts: { signal: controller.signal },
    ...(at === undefined ? {} : { folder: at }),
  })
  folder = ops.folder
  runFakeDebian(ops)
  if ((await ops.store.list()).length === 0) {
    await rememberNetwork(ops)
  }
  const stop = () => {
    controller.abort(interrupted())
    throw interrupted(`interrupted: ${interruptAt}`)
  }
  const { nix } = ops
  if (interruptAt === 'evaluate') nix.evaluate = async () => stop()
  else if (interruptAt === 'build') nix.build = async () => stop()
  else if (interruptAt === 'copy') nix.copy = async () => stop()
  else if (interruptAt === 'wait for ssh') ops.ssh.waitForBanner = async () => stop()
  else if (interruptAt !== undefined) ops.ssh.answer(interruptAt, stop)
}

async function lastEvent() {
  const { uuid } = await ops.store.resolve('net')
  return (await ops.store.history(uuid)).at(-1)
}

describe.each([
  'evaluate',
  'build',
  'wait for ssh',
  'read the facts of the machine',
  'copy',
  'start the activation',
  'follow the activation',
])('Ctrl-C at: %s', (stage) => {
  afterEach(() => ops.cleanup())

  it('ends with 130, is recorded, releases the lock, and the next deploy finishes the work', async () => {
    await open(stage)
    await expect(deploy(ops, standardRequest)).rejects.toMatchObject({ code: 'INTERRUPTED', exitCode: 130 })
    // A run writes no event before the plan.
    if (stage === 'evaluate') expect(await lastEvent()).toBeUndefined()
    else
      expect(await lastEvent()).toMatchObject({
        event: 'deploy.end',
        result: expect.stringContaining('interrupted'),
      })
    await open(undefined, folder)
    const { results } = await deploy(ops, standardRequest)
    expect(results.map((row) => row.outcome)).not.toContain('failed')
    expect(ops.hypervisor.listing().running).toHaveLength(1)
    expect((await ops.store.resolve('net')).machines['web' as never]?.deployed).toBeDefined()
  })
})

describe('Ctrl-C while an activation runs', () => {
  afterEach(() => ops.cleanup())

  it('names the unit that goes on alone, and the next deploy reads the result of the activation instead of starting anew', async () => {
    await open('follow the activation')
    await expect(deploy(ops, standardRequest)).rejects.toMatchObject({
      message: expect.stringMatching(/web \(hydra-ops-.*\.service\)/),
    })
    await open(undefined, folder)
    await deploy(ops, standardRequest)
    expect(ops.ssh.execs.map((exec) => exec.what)).toContain('follow the activation')
    expect(ops.ssh.execs.map((exec) => exec.what)).not.toContain('start the activation')
  })
})
