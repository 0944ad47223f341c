import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type MadeSystem, systemFiles } from '../fixtures/nixos-system/nixos-system.js'
import { NixosGuest, sshd } from '../systems/nixos/guest.js'
import type { Ended } from './operator.js'
import { type SshOperator, sshOperator } from './ssh-operator.js'

const d = ['-d', 'box']
const hello = (mark: string) => `[Service]\nExecStart=/bin/sh -c ': ${mark}; exec sleep infinity'\n`

let guest: NixosGuest
let operator: SshOperator
let systems = 0

beforeAll(async () => {
  guest = await NixosGuest.start()
  await guest.sh("sed -i 's/^ID=.*/ID=nixos/; s/^ID_LIKE=.*//' /etc/os-release")
  operator = sshOperator()
  operator.sshConfig(`Host box.example
  HostName 127.0.0.1
  Port ${guest.guest.guest.port}
  User root
  IdentityFile ${guest.guest.guest.identityFile}
`)
  want({ services: sshd, units: { 'hello.service': hello('first') } })
  await operator.ok(['create', 'network.nix', ...d])
})
afterAll(async () => {
  operator?.dispose()
  await guest?.dispose()
})

/** Writes the network: a NixOS machine whose toplevel is a made-up system that a guest can switch to. */
function want(made: MadeSystem, more = ''): void {
  const folder = `system-${++systems}`
  for (const [path, text] of Object.entries(systemFiles(made))) {
    mkdirSync(dirname(join(operator.folder, folder, path)), { recursive: true })
    writeFileSync(join(operator.folder, folder, path), text)
  }
  operator.write(
    'network.nix',
    `{
  network.nixpkgs = ${resolve('test/fixtures/nixpkgs')};
  box = { lib, pkgs, ... }: {
    deployment.targetHost = "box.example";
    deployment.targetHostKey = "${guest.guest.guest.hostKey}";
    ${more}
    boot.loader.grub.device = "/dev/vda";
    fileSystems."/".device = "/dev/vda1";
    system.build.toplevel = lib.mkForce (pkgs.runCommand "nixos-system-box" { } ''
      cp -r \${./${folder}} $out
      chmod -R u+w $out
      chmod +x $out/bin/* $out/init
      mkdir $out/sw
      ln -s /usr/bin $out/sw/bin
    '');
  };
}
`,
  )
}

const everything = ({ stdout, stderr }: Ended) => `${stdout}\n${stderr}`

async function deploy(...flags: string[]): Promise<Ended> {
  const ended = await operator.run(['deploy', ...d, '--yes', '--confirm-timeout', '300', ...flags])
  await guest.guest.reconnect()
  return ended
}

/** Lists what an unchanged deploy must not touch: generations, roots, files of /etc, starts of units, and the boot menu. */
const untouched = () =>
  guest.sh(`ls -l --time-style=full-iso /nix/var/nix/profiles /nix/var/nix/gcroots/hydra-ops
find /etc /var/lib/hydra-ops /boot -newermt 2000-01-01 -type f -exec stat -c '%n %Y %i' {} + | sort
systemctl show -p Id,ExecMainStartTimestampMonotonic hello.service ssh.service
ls /var/log/hydra-ops; wc -l < /var/log/stand-in-switches`)

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
    expect(await guest.sh('systemctl is-active hello.service')).toBe('active')
    expect(await operator.ok(['info', ...d, '--plain'])).toMatch(/box.*Up \/ Up-to-date/)
  })

  it('is left alone by the same deploy', async () => {
    const before = await untouched()
    const again = await deploy()
    expect(again.code, everything(again)).toBe(0)
    expect(everything(again)).toContain('Up-to-date')
    expect(await untouched()).toBe(before)
  })

  it('keeps its boot default if a health check fails, and says so', async () => {
    const first = await guest.look()
    want(
      { services: sshd, units: { 'hello.service': hello('second') } },
      'deployment.healthChecks.cmd = [ { cmd = [ "false" ]; period = 1; total = 3; } ];',
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
    want({ services: sshd, kernel: 'kernel 2', units: { 'hello.service': hello('third') } })
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
    expect(await guest.sh('ls /etc/systemd/system.control 2>/dev/null | wc -l')).toBe('0')
    expect(await operator.ok(['info', ...d, '--plain'])).toMatch(/box.*Up \/ Up-to-date/)
  })
})
