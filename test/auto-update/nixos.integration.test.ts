import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { withSetUpLock } from '../../src/tasks/machine-lock.js'
import { type ServedHydra, serveHydra } from '../fakes/served-hydra.js'
import { deployed, endServers, evaluation, now } from './jobset.js'
import { Builds } from './updated-machine.js'
import { buildSystem, owner, UpdatedNixos, type UpdatedSystem } from './updated-nixos.js'

const builds = new Builds()
const run = { signal: new AbortController().signal, log: () => {} }

let machine: UpdatedNixos
let hydra: ServedHydra
let old: string
let better: string

const make = async (name: string, made: UpdatedSystem = {}) =>
  builds.publish(await buildSystem(builds, name, made))
const unit = (name: string, program: string) => ({ [`${name}.service`]: `[Service]\nExecStart=${program}\n` })
const fails = { cmd: [{ cmd: ['false'], period: 0.1, timeout: 20, total: 0.1 }] }

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

const go = (changes: Record<string, unknown> = {}, flags: readonly string[] = []) =>
  machine.run(hydra.model.url, changes, flags)
const offer = (path: string) => {
  hydra.model.evaluations = [evaluation(12, path)]
}
const oldAlone = () => ({ running: old, profile: old, bootDefault: old })

/** Expects that the update went back for this reason, and that the machine is as before. */
async function expectBack(why: string | RegExp, ended: Awaited<ReturnType<typeof go>>): Promise<void> {
  expect(ended).toMatchObject({ kind: 'exited', code: 1, stderr: '', said: expect.stringMatching(why) })
  expect(ended.said).toContain(`; went back to ${old}`)
  expect(await machine.runs()).toEqual(oldAlone())
  expect(await machine.result()).toMatchObject({ result: 'went-back', path: expect.any(String) })
  expect(await machine.leftovers()).toBe('')
}

describe('an automatic update of a NixOS machine', () => {
  it('activates the newest green build under the guard, confirms it, and makes it the boot default', async () => {
    const ended = await go()
    expect(ended).toMatchObject({
      code: 0,
      stderr: '',
      said: 'updated: updated to evaluation 12 (build 120)',
    })
    expect(ended.stdout).toContain('the new system is confirmed')
    expect(await machine.runs()).toEqual({ running: better, profile: better, bootDefault: better })
    expect(await machine.switches()).toEqual(['old boot', 'better test', 'better boot'])
    expect(await machine.result()).toMatchObject({ result: 'updated', evaluation: 12, path: better })
    expect(await machine.leftovers()).toBe('')
    expect(await machine.namespace.sh('cat /var/lib/hydra-ops/owner')).toBe(owner)
    expect(await machine.namespace.sh('readlink -e /nix/var/nix/gcroots/hydra-ops/previous')).toBe(old)
    expect(await machine.namespace.sh('ls /nix/var/nix/gcroots/hydra-ops')).toBe('previous')
    expect(await go()).toMatchObject({ code: 0, said: 'up-to-date: evaluation 12 runs' })
  })

  it('says with --look what it would do, and changes nothing', async () => {
    expect(await go({}, ['--look'])).toMatchObject({
      code: 0,
      stdout: `evaluation 12 is the newest: ${better}\n`,
    })
    expect(await machine.runs()).toEqual(oldAlone())
    expect(await machine.leftovers()).toBe('')
  })

  it('never goes back to an older build', async () => {
    await machine.deploy(better, now)
    hydra.model.evaluations = [evaluation(11, old)]
    expect(await go()).toMatchObject({
      code: 0,
      said: expect.stringContaining('up-to-date: evaluation 11 is older than the system that runs since '),
    })
    expect(await machine.runs()).toMatchObject({ running: better })
  })

  it('runs the health checks that the new system brings', async () => {
    offer(await make('own-checks', { checks: { cmd: [] } }))
    expect(await go({ healthChecks: fails })).toMatchObject({ code: 0 })
  })
})

describe('an automatic update of a NixOS machine changes nothing', () => {
  it.each([
    ['another kernel', { kernel: 'kernel 2' }, 'its system has another kernel'],
    ['another release', { version: '25.05.1' }, 'its system is of another release (25.05 instead of 24.11)'],
  ])('for a system with %s, and says that a deploy with a reboot enters it', async (name, made, why) => {
    offer(await make(name.replace(' ', '-'), made))
    const message = `evaluation 12: ${why}, and the update does not reboot the machine: deployment.autoUpdate.allowReboot is not set; hydra-ops deploy --from-hydra --allow-reboot enters it`
    expect(await go()).toMatchObject({ code: 0, said: `needs-reboot: ${message}` })
    expect(await machine.result()).toMatchObject({ result: 'needs-reboot', message, evaluation: 12 })
    expect(await machine.switches()).toEqual(['old boot'])
    expect(await machine.runs()).toEqual(oldAlone())
  })

  it('for a system that says itself that only a boot enters it', async () => {
    offer(await make('interface', { row: 'interface' }))
    expect(await go()).toMatchObject({
      code: 0,
      said: 'needs-reboot: evaluation 12: only a boot can enter the new system',
    })
    expect(await machine.runs()).toEqual(oldAlone())
    expect(await machine.leftovers()).toBe('')
  })

  it('while another switch holds the lock of the machine', async () => {
    offer(await make('locked', { row: 'locked' }))
    expect(await go()).toMatchObject({
      code: 0,
      said: expect.stringContaining('busy: evaluation 12: switch-to-configuration ended with status 11'),
    })
    expect(await machine.runs()).toEqual(oldAlone())
    expect(await machine.leftovers()).toBe('')
  })

  it('where the path is no system of NixOS', async () => {
    const other = await builds.publish(await builds.build({ version: 'a Debian machine' }))
    offer(other)
    expect(await go()).toMatchObject({ code: 1, said: `failed: ${other} is no system of NixOS` })
    expect(await machine.switches()).toEqual(['old boot'])
  })

  it('where nobody signed the path', async () => {
    const path = await buildSystem(builds, 'unsigned')
    await builds.publishUnsigned(path)
    offer(path)
    expect(await go()).toMatchObject({
      code: 1,
      said: `failed: cannot fetch ${path}: it is not signed by a trusted key`,
    })
    expect(await machine.runs()).toEqual(oldAlone())
  })

  it('where the ssh server shows no host key, because a login could not be proved afterwards', async () => {
    await machine.namespace.sh('sh /run/test/sshd none')
    expect(await go()).toMatchObject({
      code: 1,
      said: expect.stringMatching(
        /^failed: the ssh server shows no host key at 127\.0\.0\.1 port \d+, so an update could not prove a login$/,
      ),
    })
    expect(await machine.runs()).toEqual(oldAlone())
    expect(await machine.leftovers()).toBe('')
  })

  it('while a deploy left another system running than the boot default', async () => {
    await machine.deploy(better, now, false)
    expect(await go()).toMatchObject({
      code: 0,
      said: `busy: a deploy left ${better} running, and ${old} is the boot default; the next deploy or a reboot decides`,
    })
  })

  it('while a deploy left another system for the next boot', async () => {
    await machine.deploy(better, now)
    await machine.deploy(old, now, false)
    await machine.write(
      '/var/lib/hydra-ops/awaits-boot',
      `${better} ${await machine.namespace.sh('cat /run/test/boot_id')}\n`,
    )
    expect(await go()).toMatchObject({
      code: 0,
      said: `needs-reboot: a deploy left ${better} for the next boot`,
    })
  })
})

describe('an automatic update of a NixOS machine goes back to its old system', () => {
  it.each<[string, UpdatedSystem, string]>([
    [
      'an activation script fails',
      { row: 'snippet-fails' },
      'ended with status 2: an activation script failed',
    ],
    ['the checks before the switch fail', { row: 'checks-fail' }, 'ended with status 1: it failed before'],
    [
      'systemd cannot be reloaded',
      { row: 'reload-fails-all' },
      'ended with status 3: systemd could not be reloaded',
    ],
    ['a reload fails', { row: 'reload-fails' }, 'status 4, and no unit is failed: a reload may have failed'],
    ['the switch is killed', { row: 'killed-midway' }, 'ended with status 137'],
    [
      'an activation script calls exit',
      { row: 'snippet-exits' },
      'ended with status 4, but the machine runs',
    ],
    ['a unit fails', { units: unit('bad', '/bin/false') }, 'units failed: bad.service'],
    [
      'the new system has another host key',
      { units: unit('key', 'sh /run/test/sshd b') },
      'its ssh server no longer shows its ssh-ed25519 key at 127.0.0.1 port',
    ],
    [
      'the new system has no ssh server',
      { units: unit('cut', 'sh /run/test/sshd none') },
      'its ssh server no longer shows its ssh-ed25519 key',
    ],
    [
      'no key of before may log in',
      { units: unit('lock', 'sh -c "echo ssh-ed25519 AAAAC3mallory > /etc/ssh/authorized_keys.d/root"') },
      'no key that could log in before may log in any more',
    ],
  ])('if %s', async (why, made, message) => {
    const path = await make(why.replaceAll(/[^a-z]/g, '-'), made)
    offer(path)
    await expectBack(message, await go())
    await machine.sshd('a')
    expect(await go()).toMatchObject({ code: 1, said: expect.stringContaining('was tried before') })
  })

  it('if Hydra cannot be reached from the new system', async () => {
    offer(await make('no-network', { units: unit('network', 'touch /run/test/proof') }))
    const close = hydra.close.bind(hydra)
    const cut = machine.namespace.sh('until [ -e /run/test/proof ]; do sleep 0.1; done').then(close)
    await expectBack('does not answer /: Failed to connect', await go())
    await cut
    hydra = await serveHydra([])
  })

  it('if a health check fails', async () => {
    offer(await make('unhealthy', { checks: fails }))
    await expectBack('health check failed: cmd: false', await go())
    expect((await machine.switches()).at(-1)).toBe('old test')
  })

  it('if the boot menu cannot be written', async () => {
    offer(await make('full', { row: 'boot-full' }))
    await expectBack('the new system did not become the boot default', await go())
  })

  it('by its guard if the switch hangs', async () => {
    offer(await make('hang', { row: 'hang' }))
    const update = go()
    await machine.namespace.sh(
      'until grep -q "hang test" /var/log/stand-in-switches; do sleep 0.1; done; systemctl fire',
    )
    await expectBack('the switch did not end in time', await update)
  })
})

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

  it('tries the build once more after its guard went back', async () => {
    await killWhen('armed')
    await machine.namespace.sh(
      'systemctl fire; until [ -e /var/lib/hydra-ops/activations/*/guard-result ]; do sleep 0.1; done',
    )
    expect(await machine.runs()).toEqual(oldAlone())
    expect(await go()).toMatchObject({ code: 0, said: expect.stringContaining('updated to evaluation 12') })
    expect(await machine.runs()).toMatchObject({ running: better, bootDefault: better })
  })

  it('does not try a build again whose activation a reboot ended', async () => {
    await killWhen('armed')
    await machine.reboot()
    await machine.sshd('a')
    await expectBack('the machine was restarted during the activation', await go())
    expect(await go()).toMatchObject({ code: 1, said: expect.stringContaining('was tried before') })
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
})

/** Kills an update at the first step at which the folder of its activation has a file, and the switch has ended. */
async function killWhen(file: string): Promise<void> {
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
