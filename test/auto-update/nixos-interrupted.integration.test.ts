import { describe, expect, it } from 'vitest'
import { withSetUpLock } from '../../src/tasks/machine-lock.js'
import { deployed, now } from './jobset.js'
import {
  better,
  expectBack,
  fails,
  go,
  killWhen,
  machine,
  make,
  offer,
  old,
  oldAlone,
  useNixosMachine,
} from './nixos-machine.js'
import type { UpdatedSystem } from './updated-nixos.js'

useNixosMachine()

const run = { signal: new AbortController().signal, log: () => {} }

describe('an update and a deploy of a NixOS machine', () => {
  it('do not work at once: the update waits for its next time while a deploy has the machine', async () => {
    const who = 'alice@laptop with the state /home/alice/s'
    const host = () => machine.namespace.host
    await withSetUpLock(host, who, run, async () => {
      expect(await go()).toMatchObject({
        code: 0,
        said: `busy: ${who} has held the machine for less than a minute`,
      })
      expect(await machine.runs()).toEqual(oldAlone())
    })
    expect(await go()).toMatchObject({ code: 0, said: expect.stringContaining('updated') })
  })

  it.each([
    ['says so', true, (path: string) => `needs-reboot: a deploy left ${path} for the next boot`],
    ['waits', false, (path: string) => `${old} runs, and ${path} is the boot default`],
  ])(
    'keep what a deploy left for the next boot during the fetch: the update %s',
    async (_, isNoted, said) => {
      const other = await make('of-carol')
      const awaits = isNoted
        ? `mkdir -p /var/lib/hydra-ops; echo "${other} $(cat /run/test/boot_id)" > /var/lib/hydra-ops/awaits-boot`
        : 'true'
      await machine.whileFetching(other, awaits)
      expect(await go()).toMatchObject({ code: 0, said: expect.stringContaining(said(other)) })
      expect(await machine.runs()).toEqual({ running: old, profile: other, bootDefault: other })
      expect(await machine.leftovers()).toBe('')
    },
  )

  it('do not work at once: the update leaves an activation alone that waits to be confirmed', async () => {
    await machine.namespace.sh(`mkdir -p /var/lib/hydra-ops/activations/r1 /run/units
cat /run/test/boot_id > /var/lib/hydra-ops/activations/r1/armed
: > /run/units/hydra-ops-guard-r1-short.timer`)
    expect(await go()).toMatchObject({
      code: 0,
      said: 'busy: evaluation 12: the activation of run r1 waits to be confirmed',
    })
    expect(await machine.runs()).toEqual(oldAlone())
    expect(await machine.leftovers()).not.toContain('attempt')
  })

  it('do not work at once: a deploy is refused while the update has the machine', async () => {
    await machine.namespace.sh('mkdir -p /run/test/proof && mkfifo /run/test/proof/begun /run/test/proof/go')
    const waits = {
      cmd: ['sh', '-c', 'echo > /run/test/proof/begun; cat /run/test/proof/go'],
      ...{ period: 0.1, timeout: 300, total: 300 },
    }
    const first = go({ healthChecks: { cmd: [waits] } })
    await machine.namespace.sh('cat /run/test/proof/begun')
    const enters = withSetUpLock(
      () => machine.namespace.host,
      'alice',
      run,
      async () => 'in',
    )
    await expect(enters).rejects.toMatchObject({
      message: expect.stringContaining('locked for set-up by its automatic update'),
    })
    await machine.namespace.sh('echo > /run/test/proof/go')
    expect(await first).toMatchObject({ code: 0 })
  })
})

describe('an automatic update of a NixOS machine that is killed', () => {
  it.each<[string, UpdatedSystem, boolean]>([
    ['ends with the new system', { checks: { cmd: [] } }, true],
    ['ends with the old system if the new one is not healthy', { checks: fails }, false],
  ])('at any step %s', { timeout: 900_000 }, async (name, made, good) => {
    const path = await make(good ? 'killed-good' : 'killed-bad', made)
    offer(path)
    let killed = 0
    for (; killed < 60; killed += 1) {
      await machine.reset()
      await machine.deploy(old, deployed)
      const first = await go({}, [`--stop-after=${killed}`])
      if (first.kind === 'exited' && first.code < 2) break
      await go()
      const wanted = good ? path : old
      expect(await machine.runs(), `${name}: kill ${killed}`).toEqual({
        running: wanted,
        profile: wanted,
        bootDefault: wanted,
      })
      expect(await machine.leftovers(), `${name}: kill ${killed}`).toBe('')
    }
    expect(killed).toBeGreaterThan(8)
    expect(killed).toBeLessThan(60)
  })

  it('gives up a way back that never ends, and says so', async () => {
    const attempt = {
      ...{
        path: better,
        previous: old,
        evaluation: 12,
        build: 120,
        phase: 'back',
        why: 'unhealthy',
        tries: 3,
      },
      ...{ run: 'r9', unit: 'hydra-ops-activation-r9.service', keepUnit: 'hydra-ops-keep-r9.service' },
      ...{ log: '/var/log/hydra-ops/r9.log', folder: '/var/lib/hydra-ops/activations/r9', bootId: 'x' },
    }
    await machine.write('/var/lib/hydra-ops/auto-update/attempt.json', JSON.stringify(attempt))
    expect(await go()).toMatchObject({
      code: 1,
      said: 'failed: evaluation 12 (build 120): unhealthy; going back failed: no end after 3 runs',
    })
    expect(await machine.leftovers()).toBe('')
  })

  it('tries the build once more after its guard went back', async () => {
    await killWhen('armed')
    await machine.namespace.sh(
      'systemctl fire; until [ -e /var/lib/hydra-ops/activations/*/guard-result ]; do sleep 0.1; done',
    )
    // The guard is still ending, and an update would otherwise find the machine busy.
    await machine.guardsEnded()
    expect(await machine.runs()).toEqual(oldAlone())
    expect(await go()).toMatchObject({ code: 0, said: expect.stringContaining('updated to evaluation 12') })
    expect(await machine.runs()).toMatchObject({ running: better, bootDefault: better })
  })

  it('tries a build again whose activation a reboot ended', async () => {
    await killWhen('armed')
    await machine.reboot()
    await machine.sshd('a')
    await expectBack('the machine was restarted during the activation', await go())
    expect(await go()).toMatchObject({ code: 0, said: expect.stringContaining('updated to evaluation 12') })
  })

  it('keeps what a deploy put there meanwhile', async () => {
    await killWhen('armed')
    const other = await make('of-alice')
    await machine.reboot()
    await machine.deploy(other, now)
    expect(await go()).toMatchObject({
      code: 0,
      said: 'up-to-date: the machine was deployed after an update that was interrupted',
    })
    expect(await machine.runs()).toMatchObject({ running: other, profile: other })
    expect(await machine.leftovers()).toBe('')
  })

  it.each([
    ['goes back from a system that nobody confirmed', 'armed', () => old],
    ['leaves a confirmed system', 'confirmed', () => better],
  ])('keeps a boot default that an operator set meanwhile, and %s', async (_, file, running) => {
    await killWhen(file)
    const other = await make('of-bob')
    await machine.bootNext(other)
    expect(await go()).toMatchObject({
      code: 0,
      said: expect.stringContaining(`${running()} runs, and ${other} is the boot default`),
    })
    expect(await machine.runs()).toEqual({ running: running(), profile: other, bootDefault: other })
    expect(await machine.leftovers()).toBe('')
  })
})
