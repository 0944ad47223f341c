import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DeploymentUuid, type StorePath } from '../../../src/core/names.js'
import { nixosActivation, systemProfile } from '../../../src/systems/nixos/places.js'
import { beginActivation, finishActivation, startKeep, usualTimes } from '../../../src/systems/nixos/steps.js'
import { surveyNixos } from '../../../src/systems/nixos/survey.js'
import { recordingRun } from '../../fakes/fake-target.js'
import { ScratchNixos } from '../../fakes/scratch-nixos.js'
import type { MadeSystem } from '../../fixtures/nixos-system/nixos-system.js'

const owner = DeploymentUuid.parse('0b6f3a4e-6f0c-4d51-9f3e-2a1f5f7c1a01')
const folder = '/var/lib/hydra-ops/activations/r1'

let machine: ScratchNixos
let old: StorePath
let next: StorePath

/** Prepares `keep` on a machine that runs `current`; by default the new system, as after a switch. */
async function prepare(made: MadeSystem = {}, current: 'old' | 'next' = 'next'): Promise<void> {
  old = machine.system('old')
  next = machine.system('next', made)
  machine.run(old)
  const beginning = { running: old, old, owner, action: 'none' as const, guarded: false, times: usualTimes }
  await beginActivation(machine.host, activation(), beginning, recordingRun())
  if (current === 'next') machine.run(next, false)
}

const activation = () => nixosActivation('r1', next, 'boot-1')
const keep = () => machine.runPlaced(old, `${folder}/keep`)
/** Kills `keep` between the profile and the boot menu. */
async function keepUntilMenu(): Promise<void> {
  machine.remove(`${next}/bin/switch-to-configuration`)
  machine.write(`${next}/bin/switch-to-configuration`, '#!/bin/sh\nkill -KILL $PPID\n', 0o755)
  await keep()
}
const look = () => surveyNixos(machine.host, recordingRun())
/** Returns the system that the first entry of the boot menu starts. */
const bootDefault = () =>
  /init=(\S+)\/init/.exec(machine.read('boot/grub/grub.cfg') ?? '')?.[1]?.replace(machine.folder, '')

beforeEach(() => {
  machine = new ScratchNixos()
})
afterEach(() => machine.dispose())

describe('a system that becomes the boot default', () => {
  it('is in the profile and first in the boot menu, and the old one is still there', async () => {
    await prepare()
    await keep()
    expect(machine.read(`${folder}/kept`)).toBe('0 0')
    expect(machine.target(systemProfile)).toBe(next)
    expect(bootDefault()).toBe(next)
    expect(machine.list('nix/var/nix/profiles')).toEqual(['system', 'system-1-link', 'system-2-link'])
    const seen = await look()
    expect(seen.survey.profile).toBe(machine.path(next))
    expect(seen.menuPending).toBe(false)
  })

  it('leaves profile and menu as they were if the menu cannot be written', async () => {
    await prepare({ row: 'boot-full' })
    const { output } = await keep()
    expect(output).toContain('the boot menu could not be made')
    expect(machine.read(`${folder}/kept`)).toBe('0 1')
    expect(machine.target(systemProfile)).toBe(old)
    expect(machine.link(systemProfile)).toBe('system-1-link')
    expect(bootDefault()).toBe(old)
    // No generation is deleted.
    expect(machine.list('nix/var/nix/profiles')).toContain('system-2-link')
    expect((await look()).survey.profile).toBeUndefined()
  })

  it('stays in the profile, with every generation, if its own boot menu cannot be written a second time', async () => {
    await prepare()
    await keep()
    machine.remove(`${next}/bin/switch-to-configuration`)
    machine.write(`${next}/bin/switch-to-configuration`, '#!/bin/sh\nexit 1\n', 0o755)
    await keep()
    expect(machine.read(`${folder}/kept`)).toBe('0 1')
    expect(machine.link(systemProfile)).toBe('system-2-link')
    expect(machine.target(systemProfile)).toBe(next)
    expect(machine.list('nix/var/nix/profiles')).toEqual(['system', 'system-1-link', 'system-2-link'])
  })

  it('touches no boot menu if the profile cannot be set', async () => {
    await prepare()
    machine.answer('no-set')
    await keep()
    expect(machine.read(`${folder}/kept`)).toBe('1 -')
    expect(machine.switches()).toEqual([])
    expect(machine.target(systemProfile)).toBe(old)
  })

  it('is not complete after a power cut between profile and boot menu, and the next look sees it', async () => {
    await prepare()
    await keepUntilMenu()
    expect(machine.target(systemProfile)).toBe(next)
    const seen = await look()
    expect(seen.menuPending).toBe(true)
    expect(seen.survey.profile).toBeUndefined()
  })

  it('waits for a boot if the machine still runs the old system, and counts as deployed until that boot', async () => {
    await prepare({}, 'old')
    await keep()
    const { survey, current } = await look()
    expect(current).toBe(machine.path(old))
    expect(survey.profile).toBe(machine.path(next))
    expect(survey.rebootReason).toBe('reboot needed: only a boot can enter the new system')
    // Another boot that led to the old system makes the work due again.
    machine.write('var/lib/hydra-ops/awaits-boot', `${machine.path(next)} another-boot\n`)
    expect((await look()).survey.profile).toBeUndefined()
  })

  it('needs a reboot for another kernel, and the look names the part', async () => {
    await prepare()
    const other = machine.system('kernel', { kernel: 'kernel 2' })
    machine.remove(`${next}/kernel`)
    machine.write(`${next}/kernel`, 'kernel 2')
    expect((await look()).survey.rebootReason).toContain('an older kernel, ')
    expect(other).not.toBe(next)
  })
})

describe('the end of an activation', () => {
  it('keeps the system before it for a rollback, and removes the other roots', async () => {
    await prepare()
    await keep()
    await finishActivation(machine.host, activation(), true, recordingRun())
    expect(machine.list('nix/var/nix/gcroots/hydra-ops')).toEqual(['previous'])
    expect((await look()).previous).toBe(machine.path(old))
  })

  it('keeps the system before it also if a power cut ends the activation after the profile was set', async () => {
    await prepare()
    await keepUntilMenu()
    await finishActivation(machine.host, activation(), false, recordingRun())
    expect(machine.target(systemProfile)).toBe(next)
    expect((await look()).previous).toBe(machine.path(old))
  })

  it.each([
    ['before the profile was set', () => machine.answer('no-set')],
    ['and the profile is what it was', () => machine.write(`${next}/row`, 'boot-full\n')],
  ])(
    'keeps no system for a rollback if the new one did not become the boot default, %s',
    async (_, spoil) => {
      await prepare()
      spoil()
      await keep()
      await finishActivation(machine.host, activation(), false, recordingRun())
      expect(machine.list('nix/var/nix/gcroots/hydra-ops')).toEqual([])
    },
  )

  it('leaves the system for a rollback alone if the same system was activated again', async () => {
    await prepare()
    await keep()
    await finishActivation(machine.host, activation(), true, recordingRun())
    const beginning = {
      running: next,
      old: next,
      owner,
      action: 'none' as const,
      guarded: false,
      times: usualTimes,
    }
    const again = nixosActivation('r2', next, 'boot-1')
    await beginActivation(machine.host, again, beginning, recordingRun())
    await finishActivation(machine.host, again, true, recordingRun())
    expect((await look()).previous).toBe(machine.path(old))
  })

  it('does not stop a unit that still writes a boot menu', async () => {
    await prepare()
    machine.answer('show-substate', 'running\n')
    await finishActivation(machine.host, activation(), false, recordingRun())
    await startKeep(machine.host, activation(), old, recordingRun())
    const calls = machine.calls().join('\n')
    expect(calls).not.toContain('systemctl stop -- hydra-ops-keep')
    expect(calls).not.toContain('--unit=hydra-ops-keep-r1.service')
  })
})
