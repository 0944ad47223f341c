import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { unreachable } from '../../src/core/errors.js'
import { deploy } from '../../src/deploy/deploy.js'
import { usualDrain } from '../../src/deploy/drain.js'
import { listBuilders } from '../../src/operations/builders.js'
import { rebootMachines, startMachines, stopMachines } from '../../src/operations/power.js'
import { fakeBuilderTasks } from '../fakes/fake-builder-tasks.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { succeed } from '../fakes/fake-ssh.js'
import { standardRequest } from '../fakes/standard-request.js'

/** Made-up machines, of which `ci` uses the builder `b1`, and their events. */
interface Scene {
  ops: FakeOps
  /** Number of the next boot of a machine. */
  boots: number
  /** Whether each builder was drained in the state at the last reboot. */
  known: boolean[]
  /** Events on `ci`, on `b1` and at the provider, in order. */
  seen: string[]
  /** Kind of drain mark on `ci`. */
  mark: 'none' | 'automatic' | 'manual'
  /** Whether each builder was drained in the state at the last drain request to `ci`. */
  knownBefore: boolean[]
  /** Number of answers about the drain that get lost on the way. */
  lost: number
  /** Numbers of builds that run on `b1`, one for each look; the last one stays, and NaN loses the connection. */
  serving: number[]
  /** Reacts to the loss of the connection to `b1`. */
  onLoss: () => void
}

export const scene = {} as Scene

/** Creates the machines, and deploys them. */
export async function begin(): Promise<void> {
  scene.boots = 2
  scene.known = []
  scene.seen = []
  scene.mark = 'none'
  scene.lost = 0
  scene.serving = [0]
  scene.onLoss = () => {}
  scene.ops = await createFakeOps({
    network: fakeNetwork(['b1', 'ci', 'web'].map((name) => fakeMachine(name))),
  })
  runFakeDebian(scene.ops)
  Object.assign(scene.ops, { tasks: async () => fakeBuilderTasks('b1', 'ci', () => scene.mark) })
  const drains = /^(?:take|return) the jobs of builder 'b1'$/
  scene.ops.ssh.answer(drains, async ({ values, machine }) => {
    if (values.drains === 'true') scene.knownBefore = await drainedNow()
    expect([machine, values.login, values.jobs]).toEqual(['ci', 'nix-builder@b1', '4'])
    const before = scene.mark
    if (scene.mark !== 'manual') scene.mark = values.drains === 'true' ? 'automatic' : 'none'
    scene.seen.push(values.drains === 'true' ? 'drain' : 'resume')
    if (scene.lost > 0) {
      scene.lost -= 1
      return { kind: 'lost', stdout: '', stderr: '' }
    }
    return succeed(`before=${before}\nread=/etc/hydra/builders\n`)
  })
  scene.ops.ssh.answer('count the running builds', () => {
    const now = scene.serving.length > 1 ? scene.serving.shift() : scene.serving[0]
    scene.seen.push(`${now} builds`)
    if (Number.isNaN(now)) {
      scene.onLoss()
      return { kind: 'lost', stdout: '', stderr: '' }
    }
    return succeed(`serving=${now}\n`)
  })
  await rememberNetwork(scene.ops)
  await deploy(scene.ops, standardRequest)
  scene.ops.ssh.answer('reboot', async ({ machine }) => {
    scene.seen.push(`${machine} reboots`)
    scene.known = await drainedNow()
    writeFileSync(join(scene.ops.folder, 'machines', `${machine}.boot`), String(scene.boots++))
    return succeed()
  })
  for (const name of ['stop', 'undefine'] as const) {
    const act = scene.ops.hypervisor[name]
    scene.ops.hypervisor[name] = (domain) => {
      scene.seen.push(`${domain.replace(/^.*-/, '')} ${name}`)
      act(domain)
    }
  }
}

export const quick = { ...usualDrain, deadlineMs: 20_000, idleMs: 0, pauseMs: 1, answerMs: 1 }
export const request = { deployment: undefined, maxConcurrent: 4, drain: quick }
export const only = (...names: string[]) => ({ on: names.join(',') })
export const reboot = (more: Partial<Parameters<typeof rebootMachines>[1]> = {}) =>
  rebootMachines(scene.ops, { ...request, selection: only('b1'), ...more })
export const stop = (...names: string[]) =>
  stopMachines(scene.ops, { ...request, selection: only(...names), graceMs: 0 })
export const start = (...names: string[]) =>
  startMachines(scene.ops, { deployment: undefined, maxConcurrent: 1, selection: only(...names) })
export const drainedNow = async () => (await listBuilders(scene.ops, undefined)).map(({ drained }) => drained)

/** Makes a running machine unreachable from now on. */
export function silence(machine: string): void {
  const { waitForBanner, connect } = scene.ops.ssh
  const refuse = (target: { readonly machine: string }) => {
    if (target.machine === machine) throw unreachable(machine, `machine '${machine}' did not answer in time`)
  }
  Object.assign(scene.ops.ssh, {
    waitForBanner: async (...how: Parameters<typeof waitForBanner>) => {
      refuse(how[0])
      return waitForBanner(...how)
    },
    connect: async (...how: Parameters<typeof connect>) => {
      refuse(how[0])
      return connect(...how)
    },
  })
}

/** Returns the notices about builders that stay drained. */
export function drainNotices(): string[] {
  const texts = scene.ops.emitted.flatMap((event) => (event.kind === 'notice' ? event.text : []))
  return texts.filter((text) => text.includes('stays drained'))
}
