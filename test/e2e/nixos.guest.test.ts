import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type NixosGuest, sshd } from '../systems/nixos/guest.js'
import { everything, type NixosBox, nixosBox } from './nixos-box.js'
import type { SshOperator } from './ssh-operator.js'

const d = ['-d', 'box']
/** Returns a service unit that needs a key, as in a NixOps network. */
const hello = (mark: string) => `[Unit]
Requires=token-key.service
After=token-key.service
[Service]
ExecStart=/bin/sh -c ': ${mark}; exec sleep infinity'
`
const token = 'deployment.keys.token.text = "a secret";'

let box: NixosBox
let guest: NixosGuest
let operator: SshOperator
beforeAll(async () => {
  box = await nixosBox({ services: sshd, units: { 'hello.service': hello('first') } }, token)
  guest = box.guest
  operator = box.operator
})
afterAll(() => box?.dispose())

const deploy = (...flags: string[]) => box.deploy(...flags)

/**
 * Lists what an unchanged deploy must not touch. Files: generations, roots, /etc, /boot and the state of hydra-ops.
 * Services: the running services with their start times. Packages: store paths, Nix's records of these paths, and
 * dpkg's status.
 */
const untouched = () =>
  guest.sh(`ls -l --time-style=full-iso /nix/var/nix/profiles /nix/var/nix/gcroots/hydra-ops
find /etc /var/lib/hydra-ops /boot -exec stat -c '%N %F %s %Y %i' {} + | sort
systemctl list-units --type=service --state=running --plain --no-legend | cut -d' ' -f1 | grep -v '^user@' |
  xargs systemctl show -p Id,ExecMainStartTimestampMonotonic
ls -l --time-style=full-iso /nix/store; nix-store --dump-db | sha256sum; sha256sum /var/lib/dpkg/status
ls /var/log/hydra-ops; wc -l < /var/log/stand-in-switches`)

/** Counts the connections that sshd has seen, including connections without a login. */
const connections = async () =>
  Number(
    await guest.sh(`journalctl --sync
journalctl -q -t sshd -o cat | grep -cE 'Accepted |preauth|Did not receive identification' || true`),
  )

const bootId = () => guest.sh('cat /proc/sys/kernel/random/boot_id')

describe('a NixOS host with a known address', () => {
  it('keeps a system that nobody knows, unless the operator says otherwise', async () => {
    const before = await untouched()
    const refused = await deploy()
    expect(refused.code, everything(refused)).not.toBe(0)
    expect(everything(refused)).toContain('--replace-unknown')
    expect(await guest.look()).toMatchObject({ current: guest.old, profile: guest.old })
    expect(await untouched()).toBe(before)
  })

  it('runs the deployed system, now and after each boot, and is up to date', async () => {
    const ended = await deploy('--replace-unknown')
    expect(ended.code, everything(ended)).toBe(0)
    const { current, profile, bootDefault, timers } = await guest.look()
    expect(current).toMatch(/-nixos-system-box$/)
    expect({ profile, bootDefault, timers }).toEqual({ profile: current, bootDefault: current, timers: '0' })
    expect(await guest.sh('systemctl is-active hello.service token-key.service')).toBe('active\nactive')
    expect(await guest.sh('cat /run/keys/token')).toBe('a secret')
    expect(await operator.ok(['info', ...d, '--plain'])).toMatch(/box.*Up \/ Up-to-date/)
  })

  it('is left alone by the same deploy, which needs one connection', async () => {
    const [before, seen] = [await untouched(), await connections()]
    const again = await box.run('deploy', ['--yes'])
    expect(again.code, everything(again)).toBe(0)
    expect(everything(again)).toContain('Up-to-date')
    expect(await connections()).toBe(seen + 1)
    expect(await untouched()).toBe(before)
  })

  it('keeps its boot default if a health check fails, and says so', async () => {
    const first = await guest.look()
    box.want(
      { services: sshd, units: { 'hello.service': hello('second') } },
      `${token} deployment.healthChecks.cmd = [ { cmd = [ "false" ]; period = 1; total = 3; } ];`,
    )
    const ended = await deploy()
    expect(ended.code, everything(ended)).not.toBe(0)
    expect(everything(ended)).toContain('the boot default stays the old one')
    const seen = await guest.look()
    expect(seen).toMatchObject({ profile: first.profile, bootDefault: first.profile, timers: '0' })
    expect(seen.current).not.toBe(first.current)
    expect(await guest.sh('systemctl cat hello.service')).toContain('second')
  })

  it('goes back by the verb rollback', async () => {
    const { profile } = await guest.look()
    const ended = await operator.run(['rollback', ...d, '--yes'])
    expect(ended.code, everything(ended)).toBe(0)
    expect(await guest.look()).toMatchObject({ current: profile, profile, bootDefault: profile })
    expect(await guest.sh('systemctl cat hello.service')).toContain('first')
  })

  it('is booted once into another kernel, which then becomes the boot default', async () => {
    box.want({ services: sshd, kernel: 'kernel 2', units: { 'hello.service': hello('third') } }, token)
    expect(await operator.ok(['plan', ...d])).toMatch(/reboot/)
    const before = await bootId()
    const ended = await deploy('--allow-reboot')
    expect(ended.code, everything(ended)).toBe(0)
    const { current, booted, profile, bootDefault, timers } = await guest.look()
    expect({ booted, profile, bootDefault, timers }).toEqual({
      booted: current,
      profile: current,
      bootDefault: current,
      timers: '0',
    })
    expect(await bootId()).not.toBe(before)
    expect(await guest.sh('systemctl cat hello.service')).toContain('third')
    // The boot lost the key, and the service waited for the deploy to send the key again.
    expect(await guest.sh('cat /run/keys/token')).toBe('a secret')
    await guest.until(
      'systemctl is-active hello.service || { systemctl status hello.service token-key.service >&2; false; }',
    )
    expect(await guest.sh('ls /etc/systemd/system.control 2>/dev/null | wc -l')).toBe('0')
    expect(await operator.ok(['info', ...d, '--plain'])).toMatch(/box.*Up \/ Up-to-date/)
  })
})
