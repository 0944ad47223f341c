import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type ServedHydra, serveHydra } from '../fakes/served-hydra.js'
import { deployed, evaluation } from './jobset.js'
import { Builds } from './updated-machine.js'
import { buildSystem, UpdatedNixos, type UpdatedSystem } from './updated-nixos.js'

const builds = new Builds()

let machine: UpdatedNixos
let hydra: ServedHydra
let old: string

const make = async (name: string, made: UpdatedSystem = {}) =>
  builds.publish(await buildSystem(builds, name, made))
const booting: UpdatedSystem = { kernel: 'kernel 2', checks: { cmd: [] }, reboots: true }
const fails = { cmd: [{ cmd: ['false'], period: 60, timeout: 60, total: 60 }] }

beforeAll(async () => {
  await builds.start()
  old = await make('old')
  machine = await UpdatedNixos.start(builds)
})
afterAll(async () => {
  await machine.dispose()
  builds.dispose()
})
beforeEach(async () => {
  await machine.reset()
  await machine.deploy(old, deployed)
  hydra = await serveHydra([evaluation(11, old)])
})
afterEach(() => hydra.close())

const go = (flags: readonly string[] = []) => machine.run(hydra.model.url, { allowReboot: true }, flags)
const offer = (path: string) => {
  hydra.model.evaluations = [evaluation(12, path)]
}
const asksForReboot = async () =>
  (await machine.namespace.sh('cat /run/test/reboots 2> /dev/null; true')) !== ''
const all = (path: string) => ({ running: path, profile: path, bootDefault: path })

/** Runs the update until it requests a reboot, and then boots the machine. */
async function bootInto(path: string): Promise<void> {
  offer(path)
  expect(await go()).toMatchObject({
    code: 0,
    said: 'rebooting: evaluation 12 (build 120) is booted once',
  })
  expect(await asksForReboot()).toBe(true)
  expect(await machine.runs()).toMatchObject({ profile: old, bootDefault: old })
  await machine.boot()
}

describe('a build that needs a boot, with allowReboot', () => {
  it.each<[string, UpdatedSystem, string[]]>([
    [
      'another kernel is switched to, booted once, confirmed by the update of the new system, and kept',
      booting,
      ['boots test'],
    ],
    [
      'another release is booted once without a switch, confirmed, and kept',
      { ...booting, version: '25.05.1' },
      [],
    ],
  ])('%s', async (name, made, switched) => {
    const path = await make(name.includes('kernel') ? 'boots' : 'released', made)
    await bootInto(path)
    expect((await machine.switches()).filter((line) => line.endsWith('test'))).toEqual(switched)
    expect(await machine.runs()).toEqual({ running: path, profile: old, bootDefault: old })
    expect(await go()).toMatchObject({ code: 0, said: 'updated: updated to evaluation 12 (build 120)' })
    expect(await machine.runs()).toEqual(all(path))
    expect(await machine.leftovers()).toBe('')
    expect(await go()).toMatchObject({ code: 0, said: 'up-to-date: evaluation 12 runs' })
  })

  it('is not tried again if its boot led back to the old system', async () => {
    const path = await make('panics', booting)
    await bootInto(path)
    await machine.boot()
    expect(await go()).toMatchObject({
      code: 1,
      said: `went-back: evaluation 12 (build 120): its boot ended before a confirmation; went back to ${old}`,
    })
    expect(await machine.runs()).toEqual(all(old))
    expect(await machine.leftovers()).toBe('')
    expect(await go()).toMatchObject({ code: 1, said: expect.stringContaining('was tried before') })
  })

  it('is not confirmed without its ssh server, so that the fallback leads back', async () => {
    const path = await make('mute', booting)
    await bootInto(path)
    await machine.namespace.sh('sh /run/test/sshd none')
    expect(await go()).toMatchObject({
      code: 1,
      said: expect.stringContaining('; the machine goes back by rebooting'),
    })
    await machine.namespace.sh('mv /var/lib/hydra-ops/boot-once/armed /var/lib/hydra-ops/boot-once/fired')
    await machine.boot()
    await machine.sshd('a')
    expect(await go()).toMatchObject({
      code: 1,
      said: expect.stringContaining('nobody confirmed the boot in time'),
    })
    expect(await machine.runs()).toEqual(all(old))
    expect(await machine.leftovers()).toBe('')
  })

  it('is left with a reboot if a health check fails after its boot', async () => {
    const path = await make('unhealthy', { ...booting, version: '25.05.2', checks: fails })
    await bootInto(path)
    expect(await go()).toMatchObject({ code: 1, said: 'failed: the machine goes back by rebooting' })
    expect(await asksForReboot()).toBe(true)
    await machine.boot()
    expect(await go()).toMatchObject({
      code: 1,
      said: expect.stringContaining('health check failed: cmd: false'),
    })
    expect(await machine.runs()).toEqual(all(old))
    expect(await machine.leftovers()).toBe('')
  })

  it('is not booted if the new system has no update that may confirm the boot', async () => {
    offer(await make('alone', { kernel: 'kernel 2' }))
    expect(await go()).toMatchObject({
      code: 0,
      said: expect.stringContaining(
        'the update does not reboot the machine: the new system has no update that may confirm the boot',
      ),
    })
    expect([await asksForReboot(), await machine.runs()]).toEqual([false, all(old)])
  })

  it('is not booted where the boot loader cannot boot a system once', async () => {
    offer(await make('boots', booting))
    await machine.namespace.sh('mv /boot/grub/grub.cfg /boot/grub/kept.cfg')
    expect(await go()).toMatchObject({
      code: 0,
      said: expect.stringContaining(
        'the update does not reboot the machine: there is no menu of GRUB or systemd-boot on /boot',
      ),
    })
    await machine.namespace.sh('mv /boot/grub/kept.cfg /boot/grub/grub.cfg')
    expect([await asksForReboot(), await machine.runs()]).toEqual([false, all(old)])
  })

  it('is left again if the machine cannot be rebooted, and a later boot does not enter it', async () => {
    offer(await make('boots', booting))
    await machine.namespace.sh(': > /run/test/no-reboot')
    const ended = await go()
    await machine.namespace.sh('rm /run/test/no-reboot')
    expect(ended).toMatchObject({
      code: 1,
      said: expect.stringContaining('the machine cannot be rebooted: Call to Reboot failed; went back to '),
    })
    expect(await machine.leftovers()).toBe('')
    await machine.boot()
    expect(await machine.runs()).toEqual(all(old))
  })

  it('ends with the new system after a kill at any step', { timeout: 900_000 }, async () => {
    const path = await make('boots', booting)
    let killed = 0
    for (; killed < 60; killed += 1) {
      await machine.reset()
      await machine.deploy(old, deployed)
      offer(path)
      const first = await finish([`--stop-after=${killed}`])
      let last = first
      for (let run = 0; run < 4 && (await machine.runs()).profile !== path; run += 1) last = await finish([])
      // After a kill that followed the last change of the system, another update completes the attempt.
      if (last > 1) last = await finish([])
      expect([last, await machine.runs()], `kill ${killed}`).toEqual([0, all(path)])
      expect(await machine.leftovers(), `kill ${killed}`).toBe('')
      if (first === 0) break
    }
    expect(killed).toBeGreaterThan(8)
    expect(killed).toBeLessThan(60)
  })
})

/**
 * Runs the update, and boots the machine if the update requests a reboot. Returns the highest exit status.
 * The flags apply to the runs before and after the boot.
 */
async function finish(flags: readonly string[]): Promise<number> {
  const codes = [await codeOf(flags)]
  if (await asksForReboot()) {
    await machine.boot()
    codes.push(await codeOf(flags))
  }
  return Math.max(...codes)
}

async function codeOf(flags: readonly string[]): Promise<number> {
  const ended = await go(flags)
  return ended.kind === 'exited' ? ended.code : 137
}
