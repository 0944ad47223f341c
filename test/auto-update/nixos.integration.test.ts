import { describe, expect, it } from 'vitest'
import { evaluation, now } from './jobset.js'
import {
  better,
  builds,
  expectBack,
  fails,
  go,
  hydra,
  machine,
  make,
  offer,
  old,
  oldAlone,
  reopenHydra,
  unit,
  useNixosMachine,
} from './nixos-machine.js'
import { buildSystem, owner, type UpdatedSystem } from './updated-nixos.js'

useNixosMachine()

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

  it('counts no time by the clock of the day, which leaps at the start of a machine', async () => {
    await machine.write(
      '/run/test/Leap.pm',
      'package Leap; my $looks = 0; BEGIN { *CORE::GLOBAL::time = sub () { CORE::time() + 90_000 * $looks++ } } 1;',
    )
    const cmd = ['sh', '-c', '[ -e /run/test/proof ] || { : > /run/test/proof; exit 1; }']
    const healthChecks = { cmd: [{ cmd, period: 0.1, timeout: 100, total: 300 }] }
    const ended = await go({ healthChecks }, [], ['PERL5OPT=-I/run/test -MLeap'])
    expect(ended).toMatchObject({ code: 0, said: 'updated: updated to evaluation 12 (build 120)' })
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

  it('where the path is not a NixOS system', async () => {
    const other = await builds.publish(await builds.build({ version: 'a Debian machine' }))
    offer(other)
    expect(await go()).toMatchObject({ code: 1, said: `failed: ${other} is not a NixOS system` })
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
      said: `busy: ${better} runs, and ${old} is the boot default; the next deploy or a reboot decides`,
    })
  })

  it.each([
    ['for days', 'touch -h -d "5 days ago" /run/current-system /nix/var/nix/profiles/system', ' since 20'],
    [
      'because a boot menu was not finished',
      'mkdir -p /var/lib/hydra-ops; : > /var/lib/hydra-ops/boot-menu-pending',
      ', which the boot menu may lack; hydra-ops deploy or hydra-ops rollback fixes this',
    ],
  ])('and fails if a system other than the boot default runs %s', async (_, left, why) => {
    await machine.deploy(better, now, false)
    await machine.namespace.sh(left)
    expect(await go()).toMatchObject({
      code: 1,
      said: expect.stringContaining(`failed: ${better} runs, and ${old} is the boot default${why}`),
    })
    expect(await machine.runs()).toEqual({ running: better, profile: old, bootDefault: old })
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
    // The switch continues only after Hydra is down, so the proof after the switch cannot reach Hydra.
    const waits = 'sh -c "mkdir /run/test/proof; until [ -e /run/test/proof/cut ]; do sleep 0.1; done"'
    offer(await make('no-network', { units: unit('network', waits) }))
    const close = hydra.close.bind(hydra)
    const cut = machine.namespace
      .sh('until [ -e /run/test/proof ]; do sleep 0.1; done')
      .then(close)
      .then(() => machine.namespace.sh(': > /run/test/proof/cut'))
    const first = await go()
    await expectBack('does not answer /: Failed to connect', first)
    await cut
    expect(first.said).toContain('; the next update tries the build again')
    await reopenHydra()
    expect(await go()).toMatchObject({ code: 0, said: 'updated: updated to evaluation 12 (build 120)' })
  })

  it.each<[string, number, number, RegExp]>([
    ['tried again', 2, 0, /^updated: /],
    [
      'refused after three tries',
      3,
      0,
      /no answer; a newer build, or the next try after 20\S*Z, is awaited$/,
    ],
    ['tried again after a week', 3, 8 * 86_400, /^updated: /],
  ])('for a cause outside the machine, and the build is %s', async (_, outside, age, said) => {
    const refused = { path: better, why: 'no answer', outside, at: now - age }
    await machine.write('/var/lib/hydra-ops/auto-update/result.json', JSON.stringify({ refused }))
    expect((await go()).said).toMatch(said)
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

  it('except where profile and boot menu can neither be changed nor changed back', async () => {
    const path = await make('stuck', { row: 'boot-full' })
    offer(path)
    // No earlier generation remains, so the machine cannot go back.
    await machine.namespace.sh(
      'cd /nix/var/nix/profiles; rm system-*; ln -sfnT "$1" system; touch -h -d "2 days ago" system',
      old,
    )
    expect(await go({ activationSeconds: 120 })).toMatchObject({
      code: 1,
      said: expect.stringContaining(`going back failed: ${path} stays the boot default`),
    })
    expect(await machine.leftovers()).toBe('')
  })

  it('by its guard if the proof of a login takes too long, and says what the new system lacked', async () => {
    const keys = '/etc/ssh/authorized_keys.d/root'
    offer(await make('slow-proof', { units: unit('slow', `sh -c "echo mallory > ${keys}"`) }))
    await machine.noteKeyScans()
    const update = machine.run(hydra.model.url, { ssh: { ...machine.ssh, seconds: 600, pause: 0.1 } })
    // The second scan of the keys starts the proof, and the third scan follows the failed proof.
    await machine.namespace.sh(`until [ "$(grep -c . /run/test/proof)" -ge 3 ]; do sleep 0.1; done
systemctl fire; until [ -e /var/lib/hydra-ops/activations/*/guard-result ]; do sleep 0.1; done
echo 'ssh-ed25519 AAAAC3operator alice' > ${keys}`)
    await expectBack(
      'nobody confirmed the new system in time: no key that could log in before may log in any more',
      await update,
    )
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
