import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest'
import { type ServedHydra, serveHydra } from '../fakes/served-hydra.js'
import { deployed, endServers, evaluation } from './jobset.js'
import { Builds } from './updated-machine.js'
import { buildSystem, UpdatedNixos, type UpdatedSystem } from './updated-nixos.js'

export const builds = new Builds()
export let machine: UpdatedNixos
export let hydra: ServedHydra
/** The system that runs before each test. */
export let old: string
/** The system that Hydra offers. */
export let better: string

/** Gives all tests of a file the same machine, which runs `old`, and each test a new Hydra. */
export function useNixosMachine(): void {
  beforeAll(async () => {
    await builds.start()
    old = await make('old')
    better = await make('better')
    machine = await UpdatedNixos.start(builds)
  })
  afterAll(async () => {
    await machine.dispose()
    builds.dispose()
  })

  beforeEach(async () => {
    await machine.reset()
    await machine.deploy(old, deployed)
    hydra = await serveHydra([evaluation(12, better), evaluation(11, old)])
  })
  afterEach(async () => {
    endServers()
    await hydra.close()
  })
}

export const make = async (name: string, made: UpdatedSystem = {}) =>
  builds.publish(await buildSystem(builds, name, made))
export const unit = (name: string, program: string) => ({
  [`${name}.service`]: `[Service]\nExecStart=${program}\n`,
})
export const fails = { cmd: [{ cmd: ['false'], period: 60, timeout: 60, total: 60 }] }

export const go = (
  changes: Record<string, unknown> = {},
  flags: readonly string[] = [],
  environment: readonly string[] = [],
) => machine.run(hydra.model.url, changes, flags, environment)
export const offer = (path: string) => {
  hydra.model.evaluations = [evaluation(12, path)]
}
/** Starts a Hydra with the same evaluations after the last Hydra went down. */
export async function reopenHydra(): Promise<void> {
  hydra = await serveHydra(hydra.model.evaluations)
}
export const oldAlone = () => ({ running: old, profile: old, bootDefault: old })

/** Expects that the update went back for this reason, and that the machine is in its earlier state. */
export async function expectBack(why: string | RegExp, ended: Awaited<ReturnType<typeof go>>): Promise<void> {
  expect(ended).toMatchObject({ kind: 'exited', code: 1, stderr: '', said: expect.stringMatching(why) })
  expect(ended.said).toContain(`; went back to ${old}`)
  expect(await machine.runs()).toEqual(oldAlone())
  expect(await machine.result()).toMatchObject({ result: 'went-back', path: expect.any(String) })
  expect(await machine.leftovers()).toBe('')
}

/**
 * Kills an update at the first step after which the folder of its activation contains the file. Then waits
 * for the end of the switch.
 */
export async function killWhen(file: string): Promise<void> {
  for (let step = 0; ; step += 1) {
    await machine.reset()
    await machine.deploy(old, deployed)
    await go({}, [`--stop-after=${step}`])
    const found = await machine.namespace.sh(`ls /var/lib/hydra-ops/activations/*/${file} 2> /dev/null; true`)
    if (found !== '') break
    expect(step).toBeLessThan(40)
  }
  await machine.namespace.sh(
    'until ls /var/lib/hydra-ops/activations/*/settled > /dev/null 2>&1; do sleep 0.1; done',
  )
}
