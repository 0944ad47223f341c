import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { interrupted } from '../../src/core/errors.js'
import type { Host, Ssh } from '../../src/core/ssh.js'
import { deploy } from '../../src/deploy/deploy.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { fakeNetwork, fakeStorePath } from '../fakes/fake-network.js'
import { type FakeFleet, runFakeFleet } from '../fakes/fake-nixos-fleet.js'
import { createFakeOps, type FakeOps, fakeOperator, rememberNetwork } from '../fakes/fake-ops.js'
import { succeed } from '../fakes/fake-ssh.js'
import { nixosDefinition } from '../fakes/nixos-definition.js'
import { standardRequest } from '../fakes/standard-request.js'

const initial = fakeStorePath('nixos-system-image')
const check = { cmd: [{ cmd: ['true'], description: 'the page', period: 0.001, total: 0.001, timeout: 1 }] }
const systemOf = (version: string) => nixosDefinition('web', { version, deployment: { healthChecks: check } })
const [first, second] = [systemOf('v1').outPath ?? '', systemOf('v2').outPath ?? '']

let folder: string
let base: FakeOps
let fleet: FakeFleet
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-killed-'))
  base = await createFakeOps({ folder, network: fakeNetwork([systemOf('v1')]) })
  fleet = runFakeFleet(base, initial)
  base.ssh.answer('the page', succeed())
  await rememberNetwork(base)
  await deploy(base, standardRequest)
  fleet.events.length = 0
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** Returns an ssh layer whose connections end the process after some commands; `left` counts down. */
function endingSsh(ssh: Ssh, left: { commands: number }, end: () => void): Ssh {
  const counted = <T>(work: Promise<T>): Promise<T> =>
    work.then((result) => {
      left.commands -= 1
      if (left.commands > 0) return result
      end()
      throw interrupted()
    })
  const ending = (host: Host): Host => ({
    ...host,
    exec: (argv, options) => counted(host.exec(argv, options)),
    script: (text, args, options) => counted(host.script(text, args, options)),
  })
  return {
    ...ssh,
    connect: async (target, options) => {
      const { host, hostKey } = await ssh.connect(target, options)
      return { host: ending(host), hostKey }
    },
  }
}

/** Deploys the second version in a simulated process, which ends after a number of commands on the machine. */
async function deployOnce(run: string, commands: number, request: Partial<DeployRequest> = {}) {
  const left = { commands }
  const controller = new AbortController()
  const parts = {
    ssh: endingSsh(base.ssh, left, () => controller.abort()),
    signal: controller.signal,
    operator: { ...fakeOperator, run },
  }
  const ops = await createFakeOps({ folder, network: fakeNetwork([systemOf('v2')]), parts })
  const ended = await deploy(ops, { ...standardRequest, ...request }).catch((error: unknown) => error)
  return {
    ended,
    killed: left.commands <= 0,
    record: (await ops.store.resolve('net')).machines['web' as never],
  }
}

describe('an operator who disappears after any command on the machine', () => {
  it.each([
    ['in time for the guard', () => {}],
    ['after the guard has gone back', () => fleet.expire()],
  ])('leaves a machine that the next deploy brings to its end, %s', async (_, between) => {
    let commands = 1
    for (; ; commands += 1) {
      const attempt = await deployOnce(`r${commands}`, commands)
      const web = fleet.machine('web')
      if (!attempt.killed) break
      expect(attempt.ended).toMatchObject({ code: 'INTERRUPTED' })
      // The boot default is the old system until the new system is kept.
      const kept = fleet.events.includes(`web keep ${second}`)
      expect(web.bootDefault, `after ${commands} commands`).toBe(kept ? second : first)
      between()
      const next = await deployOnce(`r${commands}-next`, 1_000)
      expect(next.ended, `after ${commands} commands`).toMatchObject({ results: [{ machine: 'web' }] })
      expect(web, `after ${commands} commands`).toMatchObject({ current: second, bootDefault: second })
      expect([...web.runs.values()].some((files) => files.has('armed'))).toBe(false)
      expect(next.record).toMatchObject({ deployed: { path: second } })
      expect(next.record?.activation).toBeUndefined()
      // The machine returns to the first system for the next attempt.
      Object.assign(web, { current: first, bootDefault: first, awaits: '', previous: initial })
      web.generations.push(first)
      fleet.events.length = 0
    }
    // A complete deploy runs ten commands: look, begin, follow, confirm, follow, check, keep, follow, finish, look.
    expect(commands).toBeGreaterThan(9)
  })
})
