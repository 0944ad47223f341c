import { spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { statusOf } from '../../../src/systems/nixos/status.js'
import { surveyNixos } from '../../../src/systems/nixos/survey.js'
import { recordingRun } from '../../fakes/fake-target.js'
import { ScratchNixos } from '../../fakes/scratch-nixos.js'

let machine: ScratchNixos
beforeEach(() => {
  machine = new ScratchNixos()
})
afterEach(() => machine.dispose())

const look = () => surveyNixos(machine.host, recordingRun())

it('reads all facts of a machine in one script', async () => {
  const first = machine.system('first')
  const second = machine.system('second')
  machine.run(first)
  machine.run(second)
  machine.answer(
    'list-units',
    'nginx.service loaded failed failed web\nhydra-ops-activation-r1.service loaded failed failed x\n',
  )
  machine.answer(
    'show',
    'Id=a.service\nNRestarts=0\n\nNRestarts=4\nId=loop.service\n\nId=hydra-ops-keep-r1.service\nNRestarts=1\n',
  )
  machine.write(
    'boot/grub/grub.cfg',
    `menuentry "NixOS" {\n  linux /k systemConfig=x init=${machine.path(second)}/init loglevel=4\n}\n`,
  )
  machine.write('etc/nix/nix.conf', 'sandbox = true\ntrusted-users = root alice\n')
  machine.write('run/nixos/start-list', 'nginx.service\n')
  const seen = await look()
  expect(machine.host.seen).toHaveLength(1)
  expect(seen).toMatchObject({
    current: machine.path(second),
    booted: machine.path(second),
    profile: machine.path(second),
    generations: [
      { number: 1, path: machine.path(first) },
      { number: 2, path: machine.path(second) },
    ],
    bootDefault: machine.path(second),
    failedUnits: ['nginx.service'],
    leftovers: [machine.path('run/nixos/start-list')],
    trustedUsers: ['root', 'alice'],
    release: '24.11',
    revision: '24.11.abc',
  })
  expect([...seen.restarts]).toEqual([['loop.service', 4]])
  expect(seen.survey.systems).toEqual(['nixos'])
  expect(seen.survey.facts.osRelease).toBe('NixOS 24.11 (made up)')
})

it('reports the last automatic update of a system with its timer, and of no other', async () => {
  machine.run(machine.system('first'))
  const last = { at: '2026-11-29T04:40:00Z', result: 'needs-reboot', message: 'another kernel' }
  machine.write('var/lib/hydra-ops/auto-update/result.json', `${JSON.stringify(last)}\n`)
  const report = async () => statusOf(await surveyNixos(machine.host, recordingRun(), '', true)).autoUpdate
  expect(await report()).toBeUndefined()
  machine.write('etc/systemd/system/hydra-ops-auto-update.timer', '')
  expect(await report()).toEqual(last)
  expect((await look()).autoUpdate).toBeUndefined()
})

it('counts a system as deployed only if it runs, is in the profile, and no interrupted switch left anything', async () => {
  const first = machine.system('first')
  const second = machine.system('second')
  machine.run(first)
  expect((await look()).survey.profile).toBe(machine.path(first))
  machine.write('run/nixos/start-list', 'nginx.service\n')
  expect((await look()).survey.profile).toBeUndefined()
  machine.write('run/nixos/start-list', '')
  machine.run(second, false)
  expect((await look()).survey.profile).toBeUndefined()
})

it('names an activation of this boot that waits to be confirmed, and none of an earlier boot', async () => {
  machine.run(machine.system('first'))
  machine.write(
    'var/lib/hydra-ops/activations/r1/armed',
    readFileSync('/proc/sys/kernel/random/boot_id', 'utf8'),
  )
  machine.write('var/lib/hydra-ops/activations/r2/armed', 'an-earlier-boot\n')
  expect((await look()).armed).toEqual(['r1'])
})

it('reads the boot default of systemd-boot', async () => {
  const first = machine.system('first')
  machine.run(first)
  machine.write('boot/loader/loader.conf', 'timeout 5\ndefault nixos-generation-7.conf\n')
  machine.write(
    'boot/loader/entries/nixos-generation-7.conf',
    `title NixOS\noptions init=${machine.path(first)}/init loglevel=4\n`,
  )
  expect((await look()).bootDefault).toBe(machine.path(first))
})

it('reads a machine without NixOS, and reports no error', async () => {
  machine.write('etc/os-release', 'ID=debian\n')
  expect(await look()).toMatchObject({
    current: undefined,
    profile: undefined,
    generations: [],
    bootDefault: undefined,
  })
})

it('reads what the running system and a wanted one say about themselves', async () => {
  const first = machine.system('first', { kernel: 'kernel 1' })
  const second = machine.system('second', { kernel: 'kernel 2' })
  machine.run(first)
  machine.write(`${first}/switch-inhibitors`, '{\n  "dbus": "1"\n}\n')
  const seen = await surveyNixos(machine.host, recordingRun(), second)
  expect(machine.host.seen).toHaveLength(1)
  expect(seen.running.version).toBe('24.11.20241128.abcdef0 (a stand-in)')
  expect([...seen.running.inhibitors]).toEqual([['dbus', '1']])
  expect(seen.running.parts.get('kernel')).toBe(machine.path(`${first}/kernel`))
  expect(seen.bootedParts.get('kernel')).toBe(machine.path(`${first}/kernel`))
  expect(seen.wanted?.parts.get('kernel')).toBe(machine.path(`${second}/kernel`))
  expect([...(seen.wanted?.inhibitors ?? [])]).toEqual([])
})

it('reads nothing of a wanted system that the machine has not', async () => {
  machine.run(machine.system('first'))
  const seen = await surveyNixos(machine.host, recordingRun(), '/nix/store/absent')
  expect(seen.wanted).toBeUndefined()
  expect(seen.staleParts).toEqual([])
})

describe('a look for a report', () => {
  /** Runs a program that lies in a package of the machine's store; returns its process. */
  function running(packageName: string) {
    const program = machine.path(`nix/store/${packageName}/bin/sleep`)
    mkdirSync(dirname(program), { recursive: true })
    copyFileSync('/bin/sleep', program)
    return spawn(program, ['600'], { stdio: 'ignore' })
  }

  it('lists the services whose program the running system no longer has', async () => {
    machine.run(machine.system('first'))
    const [old, present] = [running('old-daemon'), running('new-daemon')]
    try {
      machine.answer(
        'show',
        `Id=old.service\nMainPID=${old.pid}\n\nMainPID=${present.pid}\nId=new.service\n\nMainPID=0\nId=off.service\n`,
      )
      machine.write('bin/nix-store', `#!/bin/sh\necho '${machine.path('nix/store/new-daemon')}'\n`, 0o755)
      const seen = await surveyNixos(machine.host, recordingRun(), '', true)
      expect(seen.restartsOwed).toEqual(['old.service'])
      expect((await look()).restartsOwed).toEqual([])
      machine.write('bin/nix-store', '#!/bin/sh\nexit 1\n', 0o755)
      expect((await surveyNixos(machine.host, recordingRun(), '', true)).restartsOwed).toEqual([])
    } finally {
      old.kill()
      present.kill()
    }
  })
})
