import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { unreachable } from '../../src/core/errors.js'
import { deploy } from '../../src/deploy/deploy.js'
import { checkMachines, checkStatus } from '../../src/operations/check.js'
import { deploymentInfo } from '../../src/operations/info.js'
import { infoView } from '../../src/ui/info-view.js'
import { createStyle } from '../../src/ui/style.js'
import { fakeNetwork, fakeStorePath } from '../fakes/fake-network.js'
import { type FakeFleet, runFakeFleet } from '../fakes/fake-nixos-fleet.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { succeed } from '../fakes/fake-ssh.js'
import { nixosDefinition } from '../fakes/nixos-definition.js'
import { standardRequest } from '../fakes/standard-request.js'

const initial = fakeStorePath('nixos-system-image')
const system = nixosDefinition('web').outPath ?? ''

let ops: FakeOps
let fleet: FakeFleet
beforeEach(async () => {
  ops = await createFakeOps({ network: fakeNetwork([nixosDefinition('web')]) })
  fleet = runFakeFleet(ops, initial)
  ops.ssh.answer('look at disks and units', succeed('load 0 0 0\ndisk 12 /\nunits\n'))
  await rememberNetwork(ops)
  await deploy(ops, standardRequest)
  ops.ssh.execs.length = 0
})
afterEach(() => ops.cleanup())

const info = async (probe = true) => {
  const request = { deployment: 'net', all: false, evaluate: false, probe, nix: standardRequest.nix }
  const [only] = await deploymentInfo(ops, request)
  if (only === undefined) throw new Error('no info')
  return only
}
const check = () => checkMachines(ops, { deployment: 'net', selection: {} })

describe('the report of a NixOS machine', () => {
  it('has its systems and generations, read by one script without root', async () => {
    const { machines } = await info()
    expect(machines[0]?.system).toMatchObject({
      running: system,
      booted: initial,
      bootDefault: system,
      previous: initial,
      generations: [
        { number: 1, path: initial },
        { number: 2, path: system },
      ],
      notes: [],
    })
    expect(ops.ssh.execs.map(({ scriptName, asLoginUser }) => [scriptName, asLoginUser])).toEqual([
      ['nixos/survey', true],
    ])
  })

  it('is shown by info below the table', async () => {
    const text = infoView(await info(), createStyle(false))
    expect(text).toMatch(/Systems:\n {2}web +running +\/nix\/store\/\S+\n +booted +\/nix/)
    expect(text).toMatch(/next boot +the same\n +generations +2, the newest is 2\n +rollback to/)
  })

  it('is left out without a probe', async () => {
    expect((await info(false)).machines[0]).not.toHaveProperty('system')
    expect(ops.ssh.execs).toEqual([])
  })

  it('says that the machine could not be queried, and info still has the machine', async () => {
    ops.ssh.connect = async () => {
      throw unreachable('web', 'nothing answers')
    }
    expect((await info()).machines[0]?.system?.notes).toEqual([
      'the machine could not be queried: nothing answers',
    ])
  })

  it('reports what differs and what is left to do, in info and in check', async () => {
    const web = fleet.machine('web')
    Object.assign(web, { bootDefault: initial, leftover: true, menuPending: true })
    web.owed.push('sshd.service')
    web.runs.set('r9', new Map([['armed', 'boot-1']]))
    const notes = [
      `the next boot starts ${initial}, and not the system that runs`,
      'the activation of run r9 waits to be confirmed',
      'an interrupted switch left /run/nixos/start-list; the next deploy fixes that',
      'the boot menu may lack the newest system; the next deploy fixes that',
      'old code runs until a restart: sshd.service',
    ]
    expect((await info()).machines[0]?.system?.notes).toEqual(notes)
    const report = await check()
    expect(report.machines[0]?.notes).toEqual(notes)
    expect(checkStatus(report)).toBe(0)
  })
})

describe('leftovers of an interrupted switch', () => {
  it('are in the plan, and the next deploy fixes them', async () => {
    Object.assign(fleet.machine('web'), { leftover: true, menuPending: true })
    const { plan } = await deploy(ops, { ...standardRequest, dryRun: true })
    expect(plan.machines[0]?.items.map(({ subject, detail }) => [subject, detail])).toEqual([
      ['closure', 'the machine has all paths'],
      ['system', 'an interrupted switch left /run/nixos/start-list'],
      ['system', 'the boot menu may lack the newest system'],
    ])
    fleet.events.length = 0
    const { results } = await deploy(ops, standardRequest)
    expect(results).toMatchObject([{ outcome: 'changed' }])
    expect(fleet.events).toEqual([`web test ${system}`, `web keep ${system}`])
    expect((await deploy(ops, standardRequest)).results).toMatchObject([{ outcome: 'unchanged' }])
  })
})
