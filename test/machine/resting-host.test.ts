import { afterEach, beforeEach, expect, it } from 'vitest'
import { MachineName } from '../../src/core/names.js'
import type { RemoteOptions, Ssh } from '../../src/core/ssh.js'
import { deploy } from '../../src/deploy/deploy.js'
import { connect, hostOf } from '../../src/machine/connect.js'
import { recordedMachine } from '../../src/machine/machine.js'
import { restConnection } from '../../src/machine/resting-host.js'
import { dryRunSession } from '../../src/machine/session.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { standardRequest } from '../fakes/standard-request.js'

const web = MachineName.parse('web')
let ops: FakeOps

beforeEach(async () => {
  ops = await createFakeOps({ network: fakeNetwork([fakeMachine('web')]) })
  runFakeDebian(ops)
  await rememberNetwork(ops)
  await deploy(ops, standardRequest)
})
afterEach(() => ops.cleanup())

it('a resting connection gives two simultaneous users the same new connection', async () => {
  const run = { signal: ops.signal, log: () => {} }
  const link = recordedMachine(ops, dryRunSession(ops.files, await ops.store.resolve('net')), web, run)
  await connect(link)
  restConnection(link)
  const reconnect: Ssh['connect'] = ops.ssh.connect
  let answer = () => {}
  const answered = new Promise<void>((resolve) => {
    answer = resolve
  })
  ops.ssh.connect = async (...given) => {
    await answered
    return reconnect(...given)
  }
  ops.ssh.connects.length = 0
  const options: RemoteOptions = { signal: ops.signal, timeoutMs: 1_000, what: 'read the boot id' }
  const readBootId = () => hostOf(link).exec(['cat', '/proc/sys/kernel/random/boot_id'], options)
  const first = readBootId()
  await Promise.resolve()
  const second = readBootId()
  answer()
  const [one, other] = await Promise.all([first, second])
  expect(one).toEqual(other)
  expect(ops.ssh.connects).toEqual(['web'])
})
