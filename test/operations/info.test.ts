import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bindProvider } from '../../src/core/bind-provider.js'
import { usageError } from '../../src/core/errors.js'
import { MachineName } from '../../src/core/names.js'
import { checkMachines, checkStatus } from '../../src/operations/check.js'
import { deploymentInfo } from '../../src/operations/info.js'
import { infoView } from '../../src/ui/info-view.js'
import { createStyle } from '../../src/ui/style.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { type FakeOps, fakeRegistry } from '../fakes/fake-ops.js'
import { createFakeProvider } from '../fakes/fake-provider.js'
import { exit, succeed } from '../fakes/fake-ssh.js'
import { standardRequest } from '../fakes/standard-request.js'
import { type Deployed, deployed } from './deployed.js'

let world: Deployed
let ops: FakeOps

beforeEach(async () => {
  world = await deployed()
  ops = world.ops
})
afterEach(() => ops.cleanup())

describe('info', () => {
  const info = async (how: { evaluate?: boolean; probe?: boolean } = {}) => {
    const [only] = await deploymentInfo(ops, {
      deployment: undefined,
      all: false,
      evaluate: true,
      probe: true,
      nix: standardRequest.nix,
      ...how,
    })
    if (only === undefined) throw new Error('no info')
    return only
  }
  const statuses = async (how: { evaluate?: boolean; probe?: boolean } = {}) =>
    (await info(how)).machines.map(({ name, state, currency }) => [name, state, currency])

  it('shows which machines are up and current, their addresses, and their published ports', async () => {
    const before = world.stateText()
    const { machines } = await info()
    expect(machines).toMatchObject([
      { name: 'db', state: 'up', currency: 'up-to-date', type: 'fake', urls: [] },
      { name: 'web', state: 'up', currency: 'up-to-date', urls: ['http://127.0.0.1:18080/'] },
    ])
    expect(machines[1]?.address).toMatch(/^\d+\.\d+\.\d+\.\d+$/)
    expect(machines[1]?.resourceId).not.toBe('')
    expect(world.stateText()).toBe(before)
    expect(ops.nix.evaluations.map((evaluation) => evaluation.mode)).toEqual(['read'])
  })

  it('shows the effect of a changed, grown and shrunk network on each machine', async () => {
    ops.nix.network = fakeNetwork([fakeMachine('web', { version: 'v2' }), fakeMachine('cache')])
    expect(await statuses()).toEqual([
      ['cache', 'missing', 'new'],
      ['db', 'up', 'obsolete'],
      ['web', 'up', 'outdated'],
    ])
  })

  it('also counts another size of the machine as outdated', async () => {
    ops.nix.network = fakeNetwork([fakeMachine('web', { fake: { memorySize: 4096 } }), fakeMachine('db')])
    expect(await statuses()).toContainEqual(['web', 'up', 'outdated'])
  })

  it('recognises stopped, missing, silent and foreign machines', async () => {
    ops.hypervisor.stop(world.resourceName('web'))
    expect(await statuses()).toContainEqual(['web', 'stopped', 'up-to-date'])
    ops.ssh.probe = async () => false
    expect(await statuses()).toContainEqual(['db', 'unreachable', 'up-to-date'])
    ops.hypervisor.undefine(world.resourceName('web'))
    expect(await statuses()).toContainEqual(['web', 'missing', 'up-to-date'])
  })

  it('uses the state without probing, and does not mention currency without evaluating', async () => {
    ops.hypervisor.stop(world.resourceName('web'))
    ops.nix.evaluate = async () => {
      throw new Error('it evaluated')
    }
    ops.ssh.probe = async () => {
      throw new Error('it probed')
    }
    expect(await statuses({ evaluate: false, probe: false })).toEqual([
      ['db', 'up', undefined],
      ['web', 'up', undefined],
    ])
  })

  it('shows the last automatic update of a machine that has one, and asks no other machine', async () => {
    const { uuid } = await ops.store.resolve(undefined)
    await ops.store.lock(uuid, async (held) =>
      held.updateMachine(MachineName.parse('web'), (draft) => {
        const outputs = { timer: 'hydra-ops-auto-update.timer', source: '' }
        draft.tasks['auto-update'] = { inputs: '', outputs, at: '' }
      }),
    )
    const last = { at: '2026-11-29T04:40:00Z', result: 'updated', message: 'updated to evaluation 12' }
    ops.ssh.answer('read the last automatic update', succeed(`${JSON.stringify(last)}\n`))
    const seen = await info()
    expect(seen.machines.map(({ name, autoUpdate }) => [name, autoUpdate])).toEqual([
      ['db', undefined],
      ['web', last],
    ])
    expect(infoView(seen, createStyle(false))).toContain(
      'Automatic updates:\n  web  2026-11-29T04:40:00Z    updated: updated to evaluation 12',
    )
    ops.ssh.answer('read the last automatic update', exit(1, 'no such file'))
    expect((await info()).machines[1]?.autoUpdate).toBeUndefined()
  })

  it('still shows the known facts when the expression is broken', async () => {
    ops.nix.evaluate = async () => {
      throw usageError('syntax error')
    }
    const { machines, evaluationError } = await info()
    expect(machines.map((each) => each.state)).toEqual(['up', 'up'])
    expect(evaluationError).toMatchObject({ exitCode: 2 })
  })

  it('calls an existing host unreachable when it does not answer, and asks it only once', async () => {
    const provider = createFakeProvider(ops.hypervisor)
    const inspected: string[] = []
    const existing = {
      ...provider,
      makesMachines: false,
      inspect: async ({ machine: name }: Parameters<typeof provider.inspect>[0]) => {
        inspected.push(name)
        return name === 'web'
          ? { kind: 'unknown' as const, reason: 'no route' }
          : { kind: 'running' as const }
      },
    }
    Object.assign(ops, { providers: fakeRegistry([bindProvider(existing)]) })
    ops.ssh.probe = async () => {
      throw new Error('it was asked again')
    }
    expect((await info()).machines).toMatchObject([
      { name: 'db', state: 'up' },
      { name: 'web', state: 'unreachable', detail: 'no route' },
    ])
    expect(inspected.sort()).toEqual(['db', 'web'])
    const report = await checkMachines(ops, { deployment: undefined, selection: { on: 'web' } })
    expect(report.machines[0]).toMatchObject({ exists: true, up: undefined, reachable: false })
    expect(checkStatus(report)).toBe(4)
  })

  it('still reports the other machines when one hypervisor does not answer', async () => {
    const provider = createFakeProvider(ops.hypervisor)
    const silent = {
      ...provider,
      inspect: async (resource: Parameters<typeof provider.inspect>[0]) => {
        if (resource.machine === 'web') throw new Error('connection refused')
        return { kind: 'running' as const }
      },
    }
    Object.assign(ops, { providers: fakeRegistry([bindProvider(silent)]) })
    const { machines } = await info()
    expect(machines).toMatchObject([
      { name: 'db', state: 'up' },
      { name: 'web', state: 'unknown', detail: 'connection refused' },
    ])
  })
})
