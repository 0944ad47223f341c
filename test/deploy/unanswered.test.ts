import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Ssh } from '../../src/core/ssh.js'
import { deploy } from '../../src/deploy/deploy.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps
let connect: Ssh['connect']

beforeEach(async () => {
  const network = fakeNetwork([fakeMachine('web'), fakeMachine('db')])
  ops = await createFakeOps({ network })
  runFakeDebian(ops)
  await rememberNetwork(ops)
  await deploy(ops, standardRequest)
  connect = ops.ssh.connect
})
afterEach(() => ops.cleanup())

const run = async (request: Partial<DeployRequest> = {}) => {
  const { results } = await deploy(ops, { ...standardRequest, ...request })
  return Object.fromEntries(results.map((result) => [result.machine, result]))
}

function forgetHostKey(machine: string) {
  ops.ssh.connect = (target, options) =>
    connect(target.machine === machine ? { ...target, hostKey: undefined } : target, options)
}

function askForPassword(machine: string) {
  ops.ssh.connect = async (target, options) => {
    if (target.machine === machine) await options.sudoPassword?.()
    return connect(target, options)
  }
}

describe('a missing terminal', () => {
  it('fails a machine with an unknown host key, and the hint says how to accept the key', async () => {
    forgetHostKey('db')
    const results = await run()
    expect(results).toMatchObject({
      web: { outcome: 'unchanged' },
      db: { outcome: 'failed', stage: 'inspect' },
    })
    expect(results.db?.reason).toMatch(/presents the host key SHA256:.* no terminal to ask about it/)
    expect(results.db?.hint).toMatch(/--accept-host-key, or set deployment\.targetHostKey = "ssh-ed25519 /)
    expect(await run({ acceptHostKey: true })).toMatchObject({ db: { outcome: 'unchanged' } })
  })

  it('fails a machine that needs a sudo password, also when it is the only machine', async () => {
    askForPassword('db')
    const results = await run()
    expect(results).toMatchObject({ web: { outcome: 'unchanged' }, db: { outcome: 'failed' } })
    expect(results.db).toMatchObject({
      reason: "sudo on machine 'db' needs a password, but hydra-ops has no terminal to ask for one",
      hint: expect.stringContaining('run hydra-ops in a terminal'),
    })
    expect(await run({ selection: { on: 'db' } })).toMatchObject({ db: { outcome: 'failed' } })
  })
})
