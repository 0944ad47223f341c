import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DeploymentUuid, type StorePath } from '../../../src/core/names.js'
import { nixosActivation } from '../../../src/systems/nixos/places.js'
import { beginActivation, startGuard, takeGuardFile, usualTimes } from '../../../src/systems/nixos/steps.js'
import { recordingRun } from '../../fakes/fake-target.js'
import { ScratchNixos } from '../../fakes/scratch-nixos.js'
import type { MadeSystem } from '../../fixtures/nixos-system/nixos-system.js'

const owner = DeploymentUuid.parse('0b6f3a4e-6f0c-4d51-9f3e-2a1f5f7c1a01')
const times = { ...usualTimes, watch: 0, watchLonger: 0, sample: 0, pause: 0, attempt: 60 }
const folder = '/var/lib/hydra-ops/activations/r1'
const due = { due: '0' }

let machine: ScratchNixos
let old: StorePath
let next: StorePath

function begin(systems: { old?: MadeSystem; next?: MadeSystem; guarded?: boolean } = {}, run = 'r1') {
  made(systems)
  return start(run, systems.guarded)
}

function made(systems: { old?: MadeSystem; next?: MadeSystem } = {}) {
  old = machine.system('old', systems.old)
  next = machine.system('next', systems.next)
  machine.run(old)
}

function start(run = 'r1', guarded = true, action: 'test' | 'dry-activate' = 'test') {
  const beginning = { running: old, old, owner, action, guarded, times }
  return beginActivation(machine.host, activation(run), beginning, recordingRun())
}

const activation = (run = 'r1') => nixosActivation(run, next, 'boot-1')
const confirm = (run = 'r1') => takeGuardFile(machine.host, activation(run), 'confirmed', recordingRun())
const guard = (env: Readonly<Record<string, string>> = due, run = 'r1') =>
  machine.runPlaced(old, `${activation(run).folder}/guard`, env)
const switchNow = (run = 'r1') => machine.runPlaced(old, `${activation(run).folder}/switch`)

beforeEach(() => {
  machine = new ScratchNixos()
})
afterEach(() => machine.dispose())

describe('the beginning of an activation', () => {
  it('sets the guard by both clocks and with the old system’s bash, then starts the switch', async () => {
    await begin()
    const [timer = '', unit = ''] = machine.calls().filter((each) => each.includes('systemd-run'))
    const bash = machine.path(`${old}/sw/bin/bash`)
    expect(timer).toMatch(/--unit=hydra-ops-guard-r1-long --on-boot=\d+s --timer-property=OnCalendar=@\d+ /)
    expect(timer).toContain(`${bash} ${machine.path(folder)}/guard`)
    expect(timer).not.toContain('--on-active')
    expect(unit).toContain(`--unit=hydra-ops-activation-r1.service`)
    expect(unit).toContain(`${bash} ${machine.path(folder)}/switch`)
    expect(unit).not.toMatch(/--pipe|--collect|--wait/)
    expect(machine.exists(`${folder}/armed`)).toBe(true)
    expect(machine.read('var/lib/hydra-ops/owner')).toBe(owner)
    expect(machine.target('nix/var/nix/gcroots/hydra-ops/old-r1')).toBe(old)
    expect(machine.target('nix/var/nix/gcroots/hydra-ops/new-r1')).toBe(next)
  })

  it('does not take over a machine without an owner by a dry activation', async () => {
    made()
    await start('r1', false, 'dry-activate')
    expect(machine.calls().join('\n')).toContain('--unit=hydra-ops-activation-r1.service')
    expect(machine.exists('var/lib/hydra-ops/owner')).toBe(false)
  })

  it('refuses while another activation waits to be confirmed, and goes on once its guard is gone', async () => {
    await begin()
    machine.answer('active-hydra-ops-guard-r1-short.timer')
    await expect(start('r2')).rejects.toMatchObject({
      code: 'BUSY',
      message: expect.stringContaining('the activation of run r1 waits to be confirmed'),
    })
    expect(machine.exists('/var/lib/hydra-ops/activations/r2')).toBe(false)
    machine.remove('answers/active-hydra-ops-guard-r1-short.timer')
    await start('r2')
    expect(machine.list(folder)).toContain('abandoned')
  })

  it('refuses while a unit of another activation works', async () => {
    machine.answer('list-units', 'hydra-ops-keep-r0.service loaded active running x\n')
    await expect(begin()).rejects.toMatchObject({
      message: expect.stringContaining('hydra-ops-keep-r0.service is running'),
    })
    expect(machine.calls().join('\n')).not.toContain('systemd-run')
  })

  it('refuses if another system runs than the one that was seen', async () => {
    await begin()
    machine.run(next)
    await expect(start('r2')).rejects.toMatchObject({
      message: expect.stringMatching(/nothing was switched: the machine runs .*-next/),
    })
  })

  it('switches nothing if systemd refuses the guard’s timer', async () => {
    machine.answer('no-systemd-run')
    await expect(begin()).rejects.toMatchObject({
      message: expect.stringContaining('nothing was switched: systemd refused the timer of the guard'),
    })
    expect(machine.calls().filter((each) => /systemd-run.*hydra-ops-activation/.test(each))).toEqual([])
    expect(machine.exists(`${folder}/armed`)).toBe(false)
  })
})

describe('a beginning that is cut', () => {
  const steps = ['folder', 'scripts', 'armed', 'guard', 'started']

  it.each(steps)(
    'at the step “%s” never starts a switch without its guard, and can begin again',
    async (step) => {
      const script = machine.host.script.bind(machine.host)
      machine.host.script = (text, args, more) =>
        script(`steps_left=${steps.indexOf(step)}\n${text}`, args, more)
      await expect(begin()).rejects.toThrow()
      const calls = machine.calls()
      const started = calls.findIndex((each) => /systemd-run.*--unit=hydra-ops-activation/.test(each))
      const guarded = calls.findIndex((each) => /systemd-run.*--unit=hydra-ops-guard/.test(each))
      expect(started >= 0).toBe(step === 'started')
      if (started >= 0) expect(guarded).toBeLessThan(started)
      expect(machine.target('run/current-system')).toBe(old)
      machine.host.script = script
      await start('r2')
      expect(machine.exists('/var/lib/hydra-ops/activations/r2/armed')).toBe(true)
    },
  )
})

describe('the guard', () => {
  it('goes back to the old system if nobody confirmed, and says so in a file', async () => {
    await begin()
    await switchNow()
    expect(machine.target('run/current-system')).toBe(next)
    expect((await guard()).code).toBe(0)
    expect(machine.target('run/current-system')).toBe(old)
    expect(machine.read(`${folder}/guard-result`)).toBe('back 0 1')
    expect(machine.calls()).toContain('systemctl kill -s KILL -- hydra-ops-activation-r1.service')
    expect(await confirm()).toBe(false)
  })

  it.each([
    ['went back', () => guard()],
    ['was confirmed', () => confirm()],
  ] as const)('goes back although an earlier attempt at the same system %s', async (_, end) => {
    await begin()
    await switchNow()
    await end()
    machine.run(old)
    await start('r2')
    await switchNow('r2')
    expect(machine.target('run/current-system')).toBe(next)
    await guard(due, 'r2')
    expect(machine.target('run/current-system')).toBe(old)
    expect(machine.read(`${activation('r2').folder}/guard-result`)).toBe('back 0 1')
    expect(await confirm('r2')).toBe(false)
  })

  it('does nothing after a confirmation, which also removes the timers', async () => {
    await begin()
    await switchNow()
    expect(await confirm()).toBe(true)
    await guard()
    expect(machine.target('run/current-system')).toBe(next)
    expect(machine.switches()).toEqual(['next test'])
    expect(machine.calls()).toContain(
      'systemctl stop hydra-ops-guard-r1-long.timer hydra-ops-guard-r1-short.timer',
    )
    // A lost answer makes the operator confirm again.
    expect(await confirm()).toBe(true)
  })

  it('waits for its other clock if a clock that was set forward starts it too early', async () => {
    await begin()
    await switchNow()
    await guard({ due: '999999999' })
    expect(machine.exists(`${folder}/armed`)).toBe(true)
    expect(machine.target('run/current-system')).toBe(next)
  })

  it('starts at once if the operator asks for it, also after a confirmation', async () => {
    await begin()
    await switchNow()
    await confirm()
    await startGuard(machine.host, activation(), old, recordingRun())
    expect(machine.calls().at(-1)).toBe('systemctl start --no-block hydra-ops-guard-r1-long.service')
    await guard({ due: '999999999' })
    expect(machine.target('run/current-system')).toBe(old)
  })

  it('starts in a unit of its own if the timer’s unit is gone', async () => {
    await begin()
    machine.answer('no-start')
    await startGuard(machine.host, activation(), old, recordingRun())
    expect(machine.calls().at(-1)).toContain('systemd-run --quiet --unit=hydra-ops-guard-r1-now')
  })

  it.each([
    ['once', 'fails-times 1', 'back 0 2'],
    ['twice', 'fails-times 2', 'back 0 3'],
    ['each time with status 4', 'reload-fails', 'back 4 1'],
    ['each time with status 2', 'snippet-fails', 'back 2 3'],
  ] as const)('is content if the old system fails %s, and then runs', async (_, row, result) => {
    await begin({ old: { row } })
    await switchNow()
    await guard()
    expect(machine.read(`${folder}/guard-result`)).toBe(result)
    expect(machine.target('run/current-system')).toBe(old)
    expect(machine.calls().join('\n')).not.toContain('reboot')
  })

  it.each([
    ['fails three times', 'fails-times 3'],
    ['hangs', 'hang'],
    ['ends with success but leaves the new system', 'snippet-exits'],
  ] as const)('reboots if the old system %s', async (_, row) => {
    await begin({ old: { row } })
    await switchNow()
    // The stand-in for systemctl reboots nothing; the end of the guard takes the place of the reboot.
    machine.remove(`${old}/sw/bin/sleep`)
    const sleep = '#!/bin/sh\n[ "$1" != 120 ] || kill -TERM $PPID\nexec /bin/sleep "$1"\n'
    machine.write(`${old}/sw/bin/sleep`, sleep, 0o755)
    const path = `${folder}/guard`
    machine.write(path, (machine.read(path) ?? '').replace('attempt_seconds=60', 'attempt_seconds=1'))
    await guard()
    expect(machine.read(`${folder}/guard-result`)).toMatch(/^reboot (1|124|4|137) 3$/)
    expect(machine.calls().at(-1)).toBe('systemctl --no-block reboot')
  })

  it('has exactly one winner in each race with a confirmation', async () => {
    await begin()
    for (let round = 0; round < 20; round += 1) {
      for (const file of ['armed', 'confirmed', 'fired', 'guard-result']) machine.remove(`${folder}/${file}`)
      machine.write(`${folder}/armed`, 'boot')
      const [won] = await Promise.all([confirm(), guard()])
      expect([won, machine.exists(`${folder}/fired`)].filter(Boolean)).toHaveLength(1)
    }
  })
})

describe('the switch', () => {
  it.each([
    ['fine', '0'],
    ['interface', '100'],
    ['locked', '11'],
    ['checks-fail', '1'],
    ['snippet-fails', '2'],
    ['reload-fails', '4'],
    ['reload-fails-all', '3'],
  ] as const)('leaves the exit status of a run “%s” as %s in a file', async (row, code) => {
    await begin({ next: { row } })
    await switchNow()
    expect(machine.read(`${folder}/ended`)).toBe(code)
    expect(machine.list(folder)).toEqual(expect.arrayContaining(['settled', 'watched']))
  })

  it('sets a second, shorter deadline after its watch, unless somebody took the guard’s file', async () => {
    await begin()
    await switchNow()
    const short = () => machine.calls().filter((each) => each.includes('hydra-ops-guard-r1-short'))
    expect(short()).toHaveLength(1)
    await confirm()
    await switchNow()
    expect(short().filter((each) => each.includes('systemd-run'))).toHaveLength(1)
  })

  it('leaves samples of the services that failed or restarted, without those of hydra-ops', async () => {
    machine.answer(
      'show',
      [
        'Id=good.service\nNRestarts=0\nSubState=running\nResult=success\n',
        'Id=loop.service\nNRestarts=3\nSubState=auto-restart\nResult=exit-code\n',
        'Id=hydra-ops-activation-r1.service\nNRestarts=0\nSubState=failed\nResult=signal\n',
        'Result=exit-code\nSubState=failed\nNRestarts=0\nId=bad.service\n',
      ].join('\n'),
    )
    await begin()
    const path = `${folder}/switch`
    machine.write(path, (machine.read(path) ?? '').replace('watch_seconds=0', 'watch_seconds=1'))
    await switchNow()
    expect((machine.read(`${folder}/before`) ?? '').split('\n')).toEqual([
      'before loop.service 3 auto-restart exit-code',
      'before bad.service 0 failed exit-code',
    ])
    expect(machine.read(`${folder}/samples`)).toContain('0 bad.service 0 failed exit-code')
  })
})
