import { spawn } from 'node:child_process'
import { readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { activationProgram, type ScratchMachine, type WantedMachine } from '../fakes/scratch-machine.js'
import { copyOf, deploy, disposeMachines, machine } from './scratch-machines.js'

afterEach(disposeMachines)

describe('the activation of units', () => {
  const service = (text: string) => `[Service]\nExecStart=/bin/${text}\n`

  it('starts new units, restarts changed units, leaves the others alone', () => {
    const m = machine()
    const same = { text: service('same') }
    expect(deploy(m, { units: { 'a.service': { text: service('1') }, 'same.service': same } })).toBe(
      'unit a.service started\nunit same.service started\nresult 0\n',
    )
    m.forgetCalls()
    expect(deploy(m, { units: { 'a.service': { text: service('2') }, 'same.service': same } })).toBe(
      'unit a.service restarted\nresult 0\n',
    )
    expect(m.unit('a.service')).toMatchObject({ active: 'active', started: service('2') })
    expect(m.calls().filter((call) => call.includes('same.service'))).toEqual([])
  })

  it('restarts on a changed trigger alone', () => {
    const m = machine()
    deploy(m, { units: { 'a.service': { text: service('1'), trigger: 'x' } } })
    expect(deploy(m, { units: { 'a.service': { text: service('1'), trigger: 'y' } } })).toContain(
      'a.service restarted',
    )
  })

  it('lets a unit start at boot as its [Install] says, or with the target of its kind', () => {
    const m = machine()
    deploy(m, {
      units: {
        'a.service': { text: `${service('a')}[Install]\nWantedBy=graphical.target\n` },
        'b.service': { text: service('b') },
        'c.timer': { text: '[Timer]\nOnCalendar=daily\n' },
        'd.service': { text: service('d'), enable: false },
      },
    })
    const boot = (name: string) => m.unit(name).boot
    expect([boot('a.service'), boot('b.service'), boot('c.timer')]).toEqual([
      'yes',
      'multi-user.target',
      'timers.target',
    ])
    expect(m.unit('d.service').active).toBeUndefined()
  })

  it('stops and forgets a unit that is dropped or no longer enabled', () => {
    const m = machine()
    deploy(m, { units: { 'a.service': { text: service('a') }, 'b.service': { text: service('b') } } })
    const output = deploy(m, { units: { 'b.service': { text: service('b'), enable: false } } })
    expect(output).toBe(
      'unit a.service removed\nunit b.service stopped: it is not enabled any more\nresult 0\n',
    )
    expect(m.unit('a.service')).toMatchObject({ active: 'inactive', boot: '' })
    expect(m.unit('b.service')).toMatchObject({ active: 'inactive', boot: '' })
    expect(m.exists('/etc/systemd/system/a.service')).toBe(false)
  })

  it('starts an unchanged unit that somebody stopped, and no unit that failed before', () => {
    const m = machine()
    const wanted = (motd: string) => ({
      files: { '/etc/motd': motd },
      units: { 'a.service': { text: service('a') }, 'b.service': { text: service('b') } },
    })
    deploy(m, wanted('1'))
    m.setUnit('a.service', 'inactive')
    m.setUnit('b.service', 'failed')
    expect(deploy(m, wanted('2'))).toContain('unit a.service started\nresult 0')
    expect(m.unit('b.service').active).toBe('failed')
  })

  it('ends with 4 and names the failed units; the profile stays, and the next run starts them again', () => {
    const m = machine()
    deploy(m, {})
    const old = readlinkSync(m.path('/nix/var/nix/profiles/hydra-ops'))
    const closure = m.closure({
      units: {
        'bad.service': { text: `${service('bad')}# stand-in: fails\n` },
        'good.service': { text: service('good') },
        'lost.service': { text: `${service('lost')}# stand-in: is not started\n` },
        'slow.service': { text: `${service('slow')}# stand-in: never settles\n` },
      },
    })
    const result = m.activate(closure, '--run', 'hydra-ops-r1')
    expect(result.code).toBe(4)
    expect(result.output).toContain('unit bad.service failed (exit-code)\n')
    expect(result.output).toContain(
      'unit lost.service failed (it was not started: a unit that it requires failed',
    )
    expect(result.output).toContain('unit slow.service failed (still activating after 1 s)\n')
    expect(result.output).toContain('\nresult 4 bad.service lost.service slow.service\n')
    expect(readlinkSync(m.path('/nix/var/nix/profiles/hydra-ops'))).toBe(old)
    expect(m.read('/var/lib/hydra-ops/result')).toContain(
      `["result","hydra-ops-r1","${closure}","4","bad.service"`,
    )
    m.forgetCalls()
    m.activate(closure)
    expect(m.calls()).toContain(
      'systemctl --no-ask-password restart --no-block -- bad.service lost.service slow.service',
    )
  })

  it('ends with 5 when a dropped unit does not stop, and tries again the next time', () => {
    const m = machine()
    const text = `${service('a')}# stand-in: will not stop\n`
    deploy(m, { units: { 'a.service': { text } } })
    const closure = m.closure({})
    expect(m.activate(closure)).toMatchObject({
      code: 5,
      output: expect.stringContaining('a.service would not stop'),
    })
    expect(m.read('/etc/systemd/system/a.service')).toBe(text)
    m.write('/etc/systemd/system/a.service', service('a'))
    expect(m.activate(closure).code).toBe(0)
    expect(m.exists('/etc/systemd/system/a.service')).toBe(false)
  })

  it('refuses a path with two purposes at once', () => {
    const m = machine()
    const closure = m.closure({
      files: { '/etc/systemd/system/a.service': 'x', '/usr/local/bin/tool': 'x' },
      units: { 'a.service': { text: 'y' } },
      programs: ['tool'],
    })
    expect(m.activate(closure).output).toContain(
      '/usr/local/bin/tool is both in deployment.files and a program of deployment.packages\n',
    )
    expect(m.activate(closure)).toMatchObject({
      code: 1,
      output: expect.stringContaining('is both in deployment.files'),
    })
  })
})

describe('the activation program of the user', () => {
  const program = (m: ScratchMachine, text: string) => `#!/bin/sh\necho ran >>${m.folder}/ran\n${text}\n`
  const runs = (m: ScratchMachine) => (m.exists('../ran') ? m.read('../ran').length / 'ran\n'.length : 0)

  it('runs when the closure is new, or always on request', () => {
    const m = machine()
    const closure = m.closure({ activate: program(m, '') })
    m.activate(closure)
    m.activate(closure)
    expect(runs(m)).toBe(1)
    m.activate(closure, '--always')
    expect(runs(m)).toBe(2)
  })

  it('ends the activation with 2 when it fails, before any unit is started, and runs again the next time', () => {
    const m = machine()
    const closure = m.closure({ activate: program(m, 'exit 7'), units: { 'a.service': { text: 'x' } } })
    const result = m.activate(closure)
    expect(result.code).toBe(2)
    expect(result.output).toMatch(/error: .*\/bin\/activate ended with status 7\nresult 2\n$/)
    expect(m.unit('a.service').active).toBeUndefined()
    m.activate(closure)
    expect(runs(m)).toBe(2)
  })

  it('may create owners of files, and an owner that is then still missing is an error', () => {
    const m = machine()
    const closure = m.closure({
      activate: program(m, ''),
      files: { '/etc/a': { text: '', user: 'no-such-user' } },
    })
    expect(m.activate(closure)).toMatchObject({
      code: 1,
      output: expect.stringContaining("user 'no-such-user'"),
    })
    expect(runs(m)).toBe(1)
  })
})

describe('the activation of packages of Debian', () => {
  it('removes our packages that are no longer wanted, and nothing else', () => {
    const m = machine()
    for (const name of ['curl', 'jq', 'of-the-admin', 'openssh-server']) m.installPackage(name)
    m.write('/var/lib/hydra-ops/apt-installed', 'curl\njq\nopenssh-server\nremoved-by-hand\n')
    expect(deploy(m, { apt: ['curl=7.88.1-10'] })).toBe('package jq removed\nresult 0\n')
    expect(m.packages()).toEqual(['curl', 'of-the-admin', 'openssh-server'])
    expect(m.read('/var/lib/hydra-ops/apt-installed')).toBe('curl\n')
  })

  it('keeps a package that would take another one along', () => {
    const m = machine()
    m.installPackage('jq', 'of-the-admin')
    m.installPackage('of-the-admin')
    m.write('/var/lib/hydra-ops/apt-installed', 'jq\n')
    const result = m.activate(m.closure({}))
    expect(result.code).toBe(5)
    expect(result.output).toContain('packages not removed: jq: of-the-admin would have to go too\n')
    expect(m.packages()).toEqual(['jq', 'of-the-admin'])
  })
})

describe('the second of two simultaneous activations', () => {
  it('waits for the first and says so', async () => {
    const m = machine()
    const release = join(m.folder, 'release')
    const slow = m.closure({ activate: `#!/bin/sh\nuntil [ -e ${release} ]; do sleep 0.05; done\n` })
    const first = spawn('perl', [activationProgram, slow, '--root', m.root], {
      stdio: 'pipe',
      env: m.environment(),
    })
    const ended = new Promise((resolve) => first.once('exit', resolve))
    await new Promise<void>((resolve) =>
      first.stdout.on('data', (text) => String(text).includes('running') && resolve()),
    )
    const second = spawn('perl', [activationProgram, m.closure({}), '--root', m.root], {
      env: m.environment(),
    })
    const secondEnded = new Promise((resolve) => second.once('exit', resolve))
    const waiting = await new Promise((resolve) =>
      second.stdout.once('data', (text) => resolve(String(text))),
    )
    expect(waiting).toBe(`waiting for another activation (process ${first.pid})\n`)
    writeFileSync(release, '')
    expect([await ended, await secondEnded]).toEqual([0, 0])
  })
})

describe('the owner of a machine', () => {
  const a = '0b6f3a4e-6f0c-4d51-9f3e-2a1f5f7c1a01'
  const b = '0b6f3a4e-6f0c-4d51-9f3e-2a1f5f7c1a02'
  const ownerFile = '/var/lib/hydra-ops/owner'

  it('is the activated deployment, which goes on, and no other deployment changes anything', () => {
    const m = machine()
    deploy(m, { files: { '/etc/a': 'a' } }, '--owner', a)
    expect(m.read(ownerFile)).toBe(`${a}\n`)
    deploy(m, { files: { '/etc/a': 'a again' } }, '--owner', a)
    deploy(m, { files: { '/etc/a': 'by hand' } })
    const before = m.tree()
    m.forgetCalls()
    const refused = m.activate(m.closure({ files: { '/etc/b': 'b' } }), '--owner', b)
    expect(refused).toMatchObject({ code: 1, stderr: '' })
    expect(refused.output).toContain(`the machine belongs to deployment ${a} (${ownerFile})`)
    expect(m.tree()).toEqual(before)
    expect(m.calls()).toEqual([])
  })

  it('is the next deployment when none is recorded, or when the file was removed', () => {
    const m = machine()
    deploy(m, { files: { '/etc/a': 'a' } })
    deploy(m, { files: { '/etc/a': 'a' } }, '--owner', a)
    m.remove(ownerFile)
    expect(deploy(m, { files: { '/etc/b': 'b' } }, '--owner', b)).toContain('file /etc/a removed')
    expect(m.read(ownerFile)).toBe(`${b}\n`)
  })

  it('is on the disk before the list of managed places', () => {
    const managed = '/var/lib/hydra-ops/managed'
    for (let points = 0; ; points += 1) {
      const m = machine()
      const wanted = m.closure({ files: { '/etc/a': 'a' } })
      const { signal } = m.activate(wanted, '--owner', a, '--stop-after', String(points))
      if (m.exists(managed)) expect(m.read(ownerFile)).toBe(`${a}\n`)
      if (signal === null) break
      expect(m.activate(wanted, '--owner', a).code).toBe(0)
    }
  })
})

describe('an activation killed before any of its changes', () => {
  const first: WantedMachine = {
    files: { '/etc/motd': 'one', '/etc/app/old': 'old', '/etc/app/same': 'same' },
    units: {
      'same.service': { text: 'same' },
      'changed.service': { text: 'before' },
      'dropped.service': { text: 'dropped' },
    },
    programs: ['a', 'b'],
    hosts: [['10.0.0.1', 'one']],
  }
  const second: WantedMachine = {
    files: {
      '/etc/motd': { text: 'two', mode: '0600' },
      '/etc/app/same': 'same',
      '/etc/issue': 'ours',
      '/etc/n/e/w': 'new',
    },
    units: {
      'same.service': { text: 'same' },
      'changed.service': { text: 'after' },
      'new.service': { text: 'new' },
    },
    programs: ['b', 'c'],
    hosts: [['10.0.0.2', 'two']],
  }
  const unitNames = ['same.service', 'changed.service', 'dropped.service', 'new.service']
  const units = (m: ScratchMachine) =>
    Object.fromEntries(
      unitNames.map((name) => [name, [m.unit(name).active, m.unit(name).boot, m.unit(name).started]]),
    )

  it('converges when it runs again, forgets nothing, and can still be undone', { timeout: 600_000 }, () => {
    const start = machine()
    start.write('/etc/motd', 'original')
    start.write('/etc/issue', 'original issue')
    start.write('/etc/hosts', '127.0.0.1 localhost\n')
    const original = start.tree()
    deploy(start, first)
    const undisturbed = copyOf(start)
    const wanted = undisturbed.closure(second)
    expect(undisturbed.activate(wanted).code).toBe(0)

    let points = 0
    for (;;) {
      const m = copyOf(start)
      const killed = m.activate(wanted, '--stop-after', String(points))
      if (killed.signal === null) {
        expect(killed.code).toBe(0)
        break
      }
      expect(killed.signal).toBe('SIGKILL')
      expect({ points, ...m.activate(wanted) }).toMatchObject({ points, code: 0 })
      expect({ points, tree: m.tree() }).toEqual({ points, tree: undisturbed.tree() })
      expect({ points, units: units(m) }).toEqual({ points, units: units(undisturbed) })
      deploy(m, {})
      expect({ points, tree: m.tree() }).toEqual({ points, tree: original })
      m.dispose()
      points += 1
    }
    expect(points).toBeGreaterThan(30)
  })
})
