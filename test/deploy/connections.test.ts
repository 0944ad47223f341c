import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { unreachable } from '../../src/core/errors.js'
import type { Host, Ssh } from '../../src/core/ssh.js'
import { deploy } from '../../src/deploy/deploy.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps
/** The connections that are open now, and the most that were open at once. */
let open: Set<Host>
let most: number
let connect: Ssh['connect']

const names = Array.from({ length: 50 }, (_, index) => `m${index + 1}`)
const network = (version: string, names: readonly string[]) =>
  fakeNetwork(names.map((name) => fakeMachine(name, { version })))
const run = (request: Partial<DeployRequest> = {}) =>
  deploy(ops, { ...standardRequest, maxConcurrent: 10, ...request })

async function start(machines: readonly string[]): Promise<void> {
  ops = await createFakeOps({ network: network('v1', machines) })
  runFakeDebian(ops)
  await rememberNetwork(ops)
  await run()
  open = new Set()
  most = 0
  connect = ops.ssh.connect
  ops.ssh.connect = async (...given) => {
    const connected = await connect(...given)
    const host: Host = {
      ...connected.host,
      close: () => {
        open.delete(host)
        connected.host.close()
      },
    }
    open.add(host)
    most = Math.max(most, open.size)
    return { ...connected, host }
  }
  ops.ssh.connects.length = 0
}

afterEach(() => ops.cleanup())

describe('the connections of a deploy to 50 machines, 10 at once', () => {
  beforeEach(() => start(names))

  it('are at most 10, and none stays open while the plan is read and while Nix builds', async () => {
    ops.nix.network = network('v2', names)
    const seen: number[] = []
    const { build } = ops.nix
    ops.nix.build = async (...given) => {
      seen.push(open.size)
      return build(...given)
    }
    ops.questions.confirm = async () => {
      seen.push(open.size)
      return true
    }
    const { results } = await run({ yes: false, killObsolete: true, alwaysActivate: true })
    expect(new Set(results.map(({ outcome }) => outcome))).toEqual(new Set(['changed']))
    ops.nix.network = network('v2', names.slice(1))
    await run({ yes: false, killObsolete: true })
    expect(seen).toEqual([0, 0, 0])
    expect(most).toBe(10)
    expect(open.size).toBe(0)
  })

  it('are one per machine when there is nothing to do', async () => {
    const { results } = await run()
    expect(new Set(results.map(({ outcome }) => outcome))).toEqual(new Set(['unchanged']))
    expect([...ops.ssh.connects].sort()).toEqual([...names].sort())
    expect(most).toBe(10)
  })

  it('are closed after a dry run, and when the machine cannot be deployed', async () => {
    ops.ssh.answer('read the facts of the machine', { kind: 'exited', code: 1, stdout: '', stderr: 'no' })
    await run({ dryRun: true })
    expect(open.size).toBe(0)
    const { results } = await run({ forceReboot: true })
    expect(results.map(({ machine }) => machine)).toEqual(names)
    for (const result of results) expect(result).toMatchObject({ outcome: 'failed', stage: 'inspect' })
    expect(open.size).toBe(0)
  })
})

describe('a connection made for the look', () => {
  beforeEach(async () => {
    await start(['web', 'db'])
    ops.nix.network = network('v2', ['web', 'db'])
  })

  it('is opened once more for the work that follows', async () => {
    const { results } = await run()
    expect(results.map(({ outcome }) => outcome)).toEqual(['changed', 'changed'])
    expect([...ops.ssh.connects].sort()).toEqual(['db', 'db', 'web', 'web'])
  })

  it('asks for the password of sudo once for both', async () => {
    const counted = ops.ssh.connect
    let asked = 0
    ops.questions.secret = async () => {
      asked += 1
      return 'x'
    }
    ops.ssh.connect = async (target, options) => {
      expect(await options.sudoPassword?.()).toBe('x')
      return counted(target, options)
    }
    await run({ selection: { on: 'web' } })
    expect(ops.ssh.connects).toEqual(['web', 'web'])
    expect(asked).toBe(1)
  })

  it('fails only its own machine, after one attempt, when the machine is gone by then', async () => {
    const counted = ops.ssh.connect
    const attempts: string[] = []
    let built = false
    const { build } = ops.nix
    ops.nix.build = async (...given) => {
      built = true
      return build(...given)
    }
    ops.ssh.connect = async (target, options) => {
      attempts.push(target.machine)
      if (built && target.machine === 'web') throw unreachable('web', "machine 'web' does not answer")
      return counted(target, options)
    }
    const { results } = await run()
    expect(results).toMatchObject([
      { machine: 'db', outcome: 'changed' },
      { machine: 'web', outcome: 'failed', reason: "machine 'web' does not answer" },
    ])
    expect(attempts.filter((machine) => machine === 'web')).toHaveLength(2)
  })
})
