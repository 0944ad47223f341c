import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { HealthChecks } from '../../src/core/health-checks.js'
import { keyUnitName } from '../../src/core/key-unit-name.js'
import type { Run } from '../../src/core/run.js'
import { runChecks } from '../../src/deploy/health.js'
import { deliverKeys, inspectKeys, removeKeys } from '../../src/keys/deliver.js'
import { openFolders } from '../../src/keys/key-folders.js'
import type { ResolvedKey } from '../../src/keys/keys.js'
import { placeFiles } from '../../src/remote/place-files.js'
import { ConnectedGuest, slow } from '../fixtures/connected-guest.js'

const run: Run = { signal: new AbortController().signal, log: () => {} }

let guest: ConnectedGuest

beforeAll(async () => {
  guest = await ConnectedGuest.start()
})
afterAll(async () => guest?.dispose())

describe('keys on a guest', () => {
  function key(name: string, content: string, more: Partial<ResolvedKey> = {}): ResolvedKey {
    return {
      name,
      path: `/run/keys/${name}`,
      user: 'root',
      group: 'root',
      mode: 0o600,
      uploadAt: 'pre-activation',
      os: 'debian',
      content: Buffer.from(content),
      ...more,
    }
  }
  const deliver = (keys: ResolvedKey[], phase: ResolvedKey['uploadAt'] = 'pre-activation') =>
    deliverKeys(guest.host, keys, phase, run)

  /** Creates a unit that waits for a key in the way that NixOps documents. */
  async function consumer(name: string, keyUnit: string): Promise<void> {
    const content = `[Unit]
Requires=${keyUnit}
After=${keyUnit}
[Service]
Type=oneshot
RemainAfterExit=true
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target
`
    const path = `/etc/systemd/system/${name}`
    const file = { path, content, mode: 0o644, user: 'root', group: 'root' }
    await placeFiles(guest.host, [file], { run, what: 'write a unit' })
    await guest.sh('systemctl daemon-reload && systemctl --quiet enable --now -- "$1"', name)
  }

  it('lie in a directory for group keys, which is made with them', async () => {
    expect(await deliver([key('db-password', 'hunter2')])).toEqual({
      changed: ['db-password'],
      ownerless: [],
      unowned: [],
    })
    expect(
      await guest.sh(`stat -c '%a %U %G' /run/keys /run/keys/db-password; cat /run/keys/db-password`),
    ).toBe('750 root keys\n600 root root\nhunter2')
    await guest.untilState('db-password-key.service', 'active')
    expect(await deliver([key('db-password', 'hunter2')])).toEqual({
      changed: [],
      ownerless: [],
      unowned: [],
    })
  })

  /** Runs a command as an ordinary user; returns its output, or `refused`. */
  const asUser = (user: string, command: string, ...args: string[]) =>
    guest.sh(
      `user=$1; shift; runuser -u "$user" -- sh -c '${command}' sh "$@" 2>&1 || echo refused`,
      user,
      ...args,
    )

  it('are read by their user and group, without a right for anybody else', async () => {
    await guest.sh('useradd --system app; useradd --system guest1; useradd --system --groups keys lister')
    await guest.sh('groupadd --system readers; usermod -aG readers guest1')
    const folders = ['/run/keys', '/srv/of its own/ü %h %%/keys']
    for (const folder of folders) {
      const mine = key('mine', 'for app', { path: `${folder}/mine`, user: 'app', mode: 0o400 })
      await deliver([mine, key('roots', 'for root', { path: `${folder}/roots` })])
      expect(await asUser('app', 'cat -- "$1"', mine.path)).toBe('for app')
      expect(await asUser('app', 'ls -- "$1"', folder)).toContain('refused')
      expect(await asUser('app', 'cat -- "$1"', `${folder}/roots`)).toContain('refused')
      expect(await asUser('guest1', 'stat -- "$1"', mine.path)).toContain('refused')
      expect(await asUser('lister', 'ls -- "$1"', folder)).toContain('mine')
      expect(await guest.sh(`stat -c '%a %U %G' -- "$1"`, folder)).toBe('750 root keys')
      const shared = key('shared', 'for readers', { path: `${folder}/shared`, group: 'readers', mode: 0o640 })
      expect(await deliver([mine, shared])).toEqual({ changed: ['shared'], ownerless: [], unowned: [] })
      expect(await asUser('guest1', 'cat -- "$1"', shared.path)).toBe('for readers')
      expect(await asUser('guest1', 'ls -- "$1"', folder)).toContain('refused')
      expect(await asUser('app', 'cat -- "$1"', mine.path)).toBe('for app')
    }
  })

  it('have their folder opened after an earlier deploy left it shut, and shut again with the last key', async () => {
    const mine = key('mine', 'for app', { user: 'app', mode: 0o400 })
    await guest.sh(
      'install -d -m 0750 -g keys /run/new && mv /run/keys/mine /run/new && rm -r /run/keys && mv /run/new /run/keys',
    )
    expect(await asUser('app', 'cat /run/keys/mine')).toContain('refused')
    expect(await inspectKeys(guest.host, [mine], run)).toMatchObject([{ state: 'same', shut: true }])
    expect(await deliver([mine])).toEqual({ changed: ['mine'], ownerless: [], unowned: [] })
    expect(await asUser('app', 'cat /run/keys/mine')).toBe('for app')
    expect(await deliver([mine])).toEqual({ changed: [], ownerless: [], unowned: [] })
    await removeKeys(guest.host, { paths: [mine.path], names: ['mine'] }, run)
    await openFolders(guest.host, [], run, { emptied: ['/run/keys'] })
    expect(await asUser('app', 'cd /run/keys')).toContain('refused')
  })

  it('leave a folder of somebody else as it is', async () => {
    await guest.sh('install -d -m 0700 /srv/private')
    const before = await guest.sh(`stat -c '%a %U %G %Z' /srv/private`)
    const mine = key('mine', 'for app', { path: '/srv/private/mine', user: 'app', mode: 0o400 })
    await deliver([mine])
    expect(await inspectKeys(guest.host, [mine], run)).toMatchObject([{ state: 'same', shut: false }])
    expect(await guest.sh(`stat -c '%a %U %G' /srv/private`)).toBe(before.split(' ').slice(0, 3).join(' '))
  })

  it('start the units that wait for them, under any name, also after a reboot', async () => {
    const names = ['app-token', `it's "$HOME" %h\n\\x20 ü`]
    const units = names.map((name) => keyUnitName(name) ?? '')
    await deliver(names.map((name) => key(name, 'one')))
    for (const [index, unit] of units.entries()) {
      await guest.untilState(unit, 'active')
      await consumer(`waits-${index}.service`, unit)
    }
    await guest.reboot()
    const seen = await inspectKeys(
      guest.host,
      names.map((name) => key(name, 'one')),
      run,
    )
    expect(seen.map((each) => [each.state, each.unitDiffers])).toEqual([
      ['missing', false],
      ['missing', false],
    ])
    for (const [index, unit] of units.entries()) {
      await guest.untilState(unit, 'activating')
      expect(await guest.unitState(`waits-${index}.service`)).toBe('inactive')
    }
    await deliver(names.map((name) => key(name, 'one')))
    for (const index of units.keys()) await guest.untilState(`waits-${index}.service`, 'active')
  })

  it('restart the units that require them when they are replaced', async () => {
    const started = () => guest.sh('systemctl show -p ActiveEnterTimestampMonotonic --value waits-0.service')
    const before = await started()
    await deliver([key('app-token', 'two')])
    await vi.waitFor(async () => {
      expect(await started()).not.toBe(before)
      expect(await guest.unitState('waits-0.service')).toBe('active')
    }, slow)
  })

  it('have a unit that is active only while the file exists', async () => {
    await deliver([key('db-password', 'hunter2')])
    await guest.untilState('db-password-key.service', 'active')
    await guest.sh('rm /run/keys/db-password')
    await guest.untilState('db-password-key.service', 'activating')
    await guest.sh('echo x > /run/keys/db-password')
    await guest.untilState('db-password-key.service', 'active')
  })

  it('get their owner after the activation when the activation creates the owner', async () => {
    const mine = key('owned', 'x', { user: 'latecomer', group: 'latecomer', mode: 0o440 })
    expect(await deliver([mine])).toEqual({ changed: ['owned'], ownerless: ['owned'], unowned: [] })
    expect(await guest.sh(`stat -c '%a %U %G' /run/keys/owned`)).toBe('600 root root')
    await guest.sh('useradd --system --user-group --groups keys latecomer')
    expect(await deliver([mine], 'post-activation')).toEqual({
      changed: ['owned'],
      ownerless: [],
      unowned: [],
    })
    expect(
      await guest.sh(`stat -c '%a %U %G' /run/keys/owned; runuser -u latecomer cat /run/keys/owned`),
    ).toBe('440 latecomer latecomer\nx')
  })

  it('wait for their mount', async () => {
    await guest.sh(`mkdir -p '/mnt/safe place'
printf '%s\\n' 'tmpfs /mnt/safe\\040place tmpfs noauto 0 0' >> /etc/fstab
systemctl daemon-reload`)
    const mounted = key('mounted', 'x', { path: '/mnt/safe place/deep/mounted' })
    await deliver([mounted])
    expect(await guest.sh(`findmnt -n -o FSTYPE -T '/mnt/safe place/deep/mounted'`)).toBe('tmpfs')
  })

  it('have their unit at boot when they survive one', async () => {
    const kept = key('kept', 'x', { path: '/var/lib/keys/kept' })
    await deliver([kept])
    await guest.untilState('kept-key.service', 'active')
    await guest.reboot()
    await guest.untilState('kept-key.service', 'active')
    expect(await deliver([kept])).toEqual({ changed: [], ownerless: [], unowned: [] })
  })

  it('leave a foreign unit of the same name alone', async () => {
    await guest.sh(`echo '[Service]' > /etc/systemd/system/foreign-key.service`)
    await expect(deliver([key('foreign', 'x')])).rejects.toThrow(
      'foreign-key.service, which hydra-ops did not write',
    )
    expect(await guest.sh('cat /etc/systemd/system/foreign-key.service')).toBe('[Service]')
  })

  it('go with their units when they are dropped', async () => {
    await removeKeys(
      guest.host,
      { paths: ['/run/keys/db-password', '/var/lib/keys/kept'], names: ['db-password', 'kept'] },
      run,
    )
    for (const name of ['db-password', 'kept']) {
      await guest.untilState(`${name}-key.service`, 'inactive')
      expect(await guest.sh('systemctl show -p LoadState --value -- "$1"', `${name}-key.service`)).toBe(
        'not-found',
      )
    }
    expect(
      await guest.sh(
        'ls /run/keys/db-password /var/lib/keys/kept 2>/dev/null; find /etc/systemd -name "kept-key*"',
      ),
    ).toBe('')
  })
})

describe('health checks on a guest', () => {
  const once = { period: 0.01, total: 0.5, timeout: 30 }

  it('are made on its own loopback, through the connection', async () => {
    const checks = HealthChecks.parse({
      cmd: [{ cmd: ['test', '-d', '/run/systemd/system'] }],
      tcp: [{ port: 22 }],
      systemd: [{ unit: 'ssh.service' }],
    })
    expect(
      await runChecks('healthChecks', checks, { host: guest.host, machine: guest.host.machine, run }),
    ).toEqual([])
  })

  it('report the failure, with the end of the unit’s journal', async () => {
    await guest.sh(`printf '[Service]\\nExecStart=/bin/sh -c "echo out of paper; exit 7"\\n' > /etc/systemd/system/printer.service
systemctl daemon-reload; systemctl start printer.service; journalctl --sync`)
    await guest.untilState('printer.service', 'failed')
    const checks = HealthChecks.parse({
      http: [{ ...once, port: 81 }],
      tcp: [{ ...once, port: 81 }],
      // The total is long enough for one answer of a slow guest.
      systemd: [{ ...once, total: 15, unit: 'printer.service' }],
    })
    const failures = await runChecks('healthChecks', checks, {
      host: guest.host,
      machine: guest.host.machine,
      run,
    })
    expect(failures.map((failure) => failure.check)).toEqual([
      'http: http://localhost:81/',
      'tcp: localhost:81',
      'systemd: printer.service',
    ])
    expect(failures[2]?.detail).toContain('the unit is failed')
    expect(failures[2]?.detail).toContain('out of paper')
  })
})
