import { afterAll, beforeAll, expect, it } from 'vitest'
import { bindTask } from '../../../src/core/setup-task.js'
import { builderTask } from '../../../src/setup/builders/builder-task.js'
import { peer, subject, wantedOf } from '../../fakes/builder-peers.js'
import { debianMachine } from '../../fakes/debian-machine.js'
import { taskRun } from '../../fakes/task-run.js'
import { b1, ci, TwoMachines } from './two-machines.js'

let machines: TwoMachines
beforeAll(async () => {
  machines = await TwoMachines.start()
  await machines.b1.sh('useradd --create-home --uid 1500 alice; echo mine > /home/alice/file')
}, 120_000)
afterAll(async () => machines?.dispose())

const peers = new Map([[ci, peer({ outputs: { 'builder-key': { publicKey: 'ssh-ed25519 AAAA' } } })]])
const account = () => machines.b1.sh('getent passwd alice; cat /home/alice/file')

it('a person whom deployment.builder.sshUser names keeps the account, at the set-up and at the removal', async () => {
  const before = await account()
  const wanted = { builder: { enable: true, for: ['ci'], sshUser: 'alice' } }
  const offer = wantedOf(bindTask(builderTask), subject({ ...debianMachine(wanted), name: b1 }, {}, peers))
  const run = taskRun()
  await expect(offer.apply(machines.b1.host, run)).rejects.toMatchObject({
    detail: expect.stringContaining(
      'user alice exists already, with the home /home/alice; choose another deployment.builder.sshUser',
    ),
  })
  expect(await account()).toBe(before)
  const recorded = { builder: offer.traces ?? {} }
  const removal = wantedOf(
    bindTask(builderTask),
    subject({ ...debianMachine({}), name: b1 }, recorded, peers),
  )
  expect(await removal.probe(machines.b1.host, run)).toBe('done')
  await removal.apply(machines.b1.host, run)
  expect(await account()).toBe(before)
})
