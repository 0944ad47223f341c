import { utimesSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DeploymentUuid, type StorePath } from '../../../src/core/names.js'
import { askMachine, runScript } from '../../../src/remote/run-script.js'
import { lookAtBootLoader, prepareScript } from '../../../src/systems/nixos/boot-once.js'
import {
  bootOnceFolder,
  bootOnceProfile,
  nixosActivation,
  systemProfile,
} from '../../../src/systems/nixos/places.js'
import { beginActivation, usualTimes } from '../../../src/systems/nixos/steps.js'
import { recordingRun } from '../../fakes/fake-target.js'
import { ScratchNixos } from '../../fakes/scratch-nixos.js'

const owner = DeploymentUuid.parse('0b6f3a4e-6f0c-4d51-9f3e-2a1f5f7c1a01')
const folder = '/var/lib/hydra-ops/activations/r1'
const control = 'etc/systemd/system.control'
const run = recordingRun()

let machine: ScratchNixos
let old: StorePath
let next: StorePath

beforeEach(() => {
  machine = new ScratchNixos()
})
afterEach(() => machine.dispose())

const activation = () => nixosActivation('r1', next, 'boot-1')

/** Starts an activation that waits for a boot, on a machine with a boot menu. */
async function begin(): Promise<void> {
  old = machine.system('old')
  next = machine.system('next')
  machine.run(old)
  machine.makeMenu(old)
  await start()
}

function start(id = 'r1') {
  const beginning = { running: old, old, owner, action: 'none' as const, guarded: false, times: usualTimes }
  return beginActivation(machine.host, nixosActivation(id, next, 'boot-1'), beginning, run)
}

/** Prepares the boot as its unit does, and returns the result. `steps_left` kills the unit at that step. */
async function prepare(env: { steps_left?: string } = {}, loader = 'grub'): Promise<string | undefined> {
  const { prepareUnit: unit, log } = activation()
  const prepareText = prepareScript(activation(), { old, loader, times: { fallback: 330, hang: 900 } })
  await runScript(
    machine.host,
    { what: 'start', script: 'nixos/boot-start', values: { unit, log, folder, old, prepare: prepareText } },
    run,
  )
  await machine.runPlaced(old, `${folder}/prepare`, env)
  return machine.read(`${folder}/prepared`)
}

async function confirm(): Promise<string> {
  const values = { run: 'r1', new: next, once: bootOnceFolder }
  const facts = await askMachine(machine.host, { what: 'confirm', script: 'nixos/boot-confirm', values }, run)
  return ['entered', 'state', 'won'].map((name) => facts.get(name)?.[0]).join(' ')
}

function forget(menu = true): Promise<unknown> {
  const values = {
    run: 'r1',
    unit: activation().prepareUnit,
    once: bootOnceFolder,
    profile: bootOnceProfile,
    default: systemProfile,
    menu,
    log: '/var/log/hydra-ops/r1.log',
  }
  return runScript(machine.host, { what: 'forget', script: 'nixos/boot-forget', values }, run)
}

/** Lets the next scripts over ssh die at a step. */
function killAt(step: number): () => void {
  const script = machine.host.script.bind(machine.host)
  machine.host.script = (text, args, more) => script(`steps_left=${step}\n${text}`, args, more)
  return () => {
    machine.host.script = script
  }
}

const fallback = () => machine.runPlaced(old, `${bootOnceFolder}/fallback`)
const hasFallback = () => machine.exists(`${control}/sysinit.target.wants/hydra-ops-boot-once.timer`)
const entersOnce = () => /^next_entry=.+/m.test(machine.read('boot/grub/grubenv') ?? '')

/** Lists the remains of a one-time boot on the machine. */
const remains = () => [
  ...machine.list(control),
  ...machine.list('nix/var/nix/profiles/system-profiles'),
  ...(machine.exists(bootOnceFolder) ? [bootOnceFolder] : []),
  ...(entersOnce() ? ['next_entry'] : []),
]

/** Steps of the preparation, which first removes an earlier one-time boot. */
const steps = [
  'boot-loader',
  'fallback',
  'profile',
  'files',
  'units',
  'armed',
  'generation',
  'menu',
  'entry',
  'next',
]

describe('a one-time boot', () => {
  it('leads one boot to the new system, with words that end a panic, and all others to the old one', async () => {
    await begin()
    expect(await prepare()).toBe('0')
    expect(machine.boot()).toEqual({
      system: next,
      words: expect.stringContaining(' panic=10 boot.panic_on_fail hydra-ops.boot-once=r1'),
    })
    expect(machine.boot()).toEqual({ system: old, words: expect.not.stringContaining('panic=10') })
    expect(machine.target(systemProfile)).toBe(old)
  })

  it('has a fallback that systemd reads in each system and starts in this boot alone', async () => {
    await begin()
    await prepare()
    const service = machine.read(`${control}/hydra-ops-boot-once.service`) ?? ''
    const timer = machine.read(`${control}/hydra-ops-boot-once.timer`) ?? ''
    expect(machine.link(`${control}/sysinit.target.wants/hydra-ops-boot-once.timer`)).toBe(
      '../hydra-ops-boot-once.timer',
    )
    for (const text of [service, timer]) {
      expect(text).toContain('ConditionKernelCommandLine=hydra-ops.boot-once=r1\n')
      expect(text).toContain('DefaultDependencies=no\n')
      expect(text).toContain('IgnoreOnIsolate=yes\n')
    }
    expect(timer).toContain('OnBootSec=330\n')
    expect(service).toContain('FailureAction=reboot-force\n')
    const bash = `${machine.path(old)}/sw/bin/bash`
    expect(service.split('\n')).toContain(`ExecStart=${bash} ${machine.path(bootOnceFolder)}/fallback`)
  })

  it.each(steps)(
    'whose preparation dies at the step “%s” leaves the old system the boot default',
    async (step) => {
      await begin()
      await prepare({ steps_left: String(steps.indexOf(step)) })
      expect(machine.read(`${folder}/prepared`)).toBeUndefined()
      expect(entersOnce()).toBe(step === 'next')
      if (step === 'next') {
        expect(hasFallback()).toBe(true)
        expect(machine.boot().system).toBe(next)
      }
      expect(machine.boot().system).toBe(old)
      await forget()
      expect(remains()).toEqual([])
      expect(machine.read('boot/grub/grub.cfg')).not.toContain('hydra_ops')
      expect(await prepare()).toBe('0')
    },
  )

  it.each([
    ['menu', () => machine.write(`${old}/row`, 'boot-full\n'), 'the boot menu could not be made (status 1)'],
    ['profile', () => machine.answer('no-set'), 'the profile of the new system could not be set'],
    ['entry', () => machine.answer('no-editenv'), 'GRUB could not be told the entry for one boot'],
  ])('says why, and boots the old system, if the %s cannot be written', async (_, spoil, reason) => {
    await begin()
    spoil()
    expect(await prepare()).toBe(`1 ${reason}`)
    expect(machine.boot().system).toBe(old)
  })

  it('is refused if the menu would start a system other than the old one by default', async () => {
    await begin()
    machine.write(`${old}/bin/switch-to-configuration`, '#!/bin/sh\nexit 0\n', 0o755)
    machine.write('boot/grub/grub.cfg', `menuentry "x" {\nlinux x init=${machine.path(next)}/init\n}\n`)
    expect(await prepare()).toMatch(/^1 the boot menu starts \S+-next, and not \S+-old$/)
  })

  it('is prepared anew after an earlier one that nobody removed', async () => {
    await begin()
    await prepare()
    expect(machine.boot().system).toBe(next)
    machine.boot()
    expect(await prepare()).toBe('0')
    expect(machine.list('nix/var/nix/profiles/system-profiles')).toEqual(['hydra_ops', 'hydra_ops-1-link'])
    expect(machine.boot().system).toBe(next)
  })
})

describe('the confirmation of a one-time boot', () => {
  it('keeps the machine in the new system, and the fallback then does nothing', async () => {
    await begin()
    await prepare()
    machine.boot()
    expect(await confirm()).toBe('yes confirmed yes')
    await fallback()
    expect(machine.calls().join('\n')).not.toContain('reboot')
    // A lost answer makes the operator confirm again.
    expect(await confirm()).toBe('yes confirmed yes')
    await forget(false)
    expect(remains()).toEqual([])
  })

  it('changes nothing in the old system, before the boot and after it', async () => {
    await begin()
    await prepare()
    expect(await confirm()).toBe('no armed no')
    machine.boot()
    machine.boot()
    expect(await confirm()).toBe('no armed no')
  })

  it('has exactly one winner in each race with the fallback', async () => {
    await begin()
    await prepare()
    machine.boot()
    machine.write(`${old}/sw/bin/sleep`, '#!/bin/sh\nkill -TERM $PPID\n', 0o755)
    for (let round = 0; round < 10; round += 1) {
      for (const file of ['confirmed', 'fired']) machine.remove(`${bootOnceFolder}/${file}`)
      machine.write(`${bootOnceFolder}/armed`, 'r1')
      const [said] = await Promise.all([confirm(), fallback()])
      expect([said.endsWith(' yes'), machine.exists(`${bootOnceFolder}/fired`)].filter(Boolean)).toHaveLength(
        1,
      )
    }
  })
})

describe('the fallback of a one-time boot', () => {
  it('reboots into the old system, also if GRUB did not remove its entry', async () => {
    await begin()
    await prepare()
    machine.boot()
    machine.write('boot/grub/grubenv', "# GRUB Environment Block\nnext_entry=NixOS - Profile 'hydra_ops'>0\n")
    // The stand-in for systemctl reboots nothing; the end of the script takes the place of the reboot.
    machine.write(`${old}/sw/bin/sleep`, '#!/bin/sh\nkill -TERM $PPID\n', 0o755)
    await fallback()
    expect(machine.calls().at(-1)).toBe('systemctl --no-block reboot')
    expect(machine.exists(`${bootOnceFolder}/fired`)).toBe(true)
    expect(machine.boot().system).toBe(old)
    expect(await confirm()).toBe('no fired no')
  })
})

describe('the removal of a one-time boot', () => {
  const removal = ['boot-loader', 'fallback', 'profile', 'menu']

  it.each(removal)('that dies at the step “%s” never leaves a boot without its fallback', async (step) => {
    await begin()
    await prepare()
    const undo = killAt(removal.indexOf(step))
    await expect(forget()).rejects.toThrow()
    undo()
    expect(entersOnce() && !hasFallback()).toBe(false)
    expect(machine.boot().system).toBe(old)
    await forget()
    expect(remains()).toEqual([])
    expect(machine.read('boot/grub/grub.cfg')).not.toContain('hydra_ops')
  })

  it('leaves units that somebody else has in that folder', async () => {
    await begin()
    await prepare()
    machine.write(`${control}/nginx.service.d/50-CPUWeight.conf`, '[Service]\nCPUWeight=50\n')
    await forget()
    expect(machine.list(control)).toEqual(['nginx.service.d'])
  })

  it('is not part of another run', async () => {
    await begin()
    await prepare()
    machine.write(`${bootOnceFolder}/run`, 'r7\n')
    await forget()
    expect(hasFallback()).toBe(true)
  })
})

describe('a second operator', () => {
  it('begins nothing while a one-time boot is about to start, or waits to be confirmed', async () => {
    await begin()
    await prepare()
    const refusal = { message: expect.stringContaining('the one-time boot of run r1 waits to be confirmed') }
    await expect(start('r2')).rejects.toMatchObject({ code: 'BUSY', ...refusal })
    machine.boot()
    await expect(start('r2')).rejects.toMatchObject({ code: 'BUSY', ...refusal })
    expect(hasFallback()).toBe(true)
  })

  it('removes a one-time boot whose operator died before the reboot', async () => {
    await begin()
    await prepare()
    const hourAgo = new Date(Date.now() - 3_600_000)
    utimesSync(machine.path(`${bootOnceFolder}/armed`), hourAgo, hourAgo)
    await start('r2')
    expect(remains()).toEqual([])
    expect(machine.boot().system).toBe(old)
  })
})

describe('a boot loader', () => {
  const look = async () => (await lookAtBootLoader(machine.host, run)).obstacle

  it('of GRUB on a plain partition can boot once', async () => {
    await begin()
    expect(await lookAtBootLoader(machine.host, run)).toEqual({ loader: 'grub', obstacle: undefined })
    expect(remains()).toEqual([])
  })

  it('can boot once on a machine where hydra-ops has left no file yet', async () => {
    await begin()
    machine.remove('var/lib/hydra-ops')
    expect(await look()).toBeUndefined()
    machine.answer('findmnt-lib-FSTYPE', 'tmpfs\n')
    expect(await look()).toContain('does not survive a reboot')
  })

  it.each([
    ['btrfs', 'GRUB cannot write to the file system btrfs of /boot'],
    ['zfs', 'GRUB cannot write to the file system zfs of /boot'],
  ])('on %s cannot boot once', async (kind, reason) => {
    await begin()
    machine.answer('findmnt-boot-FSTYPE', `${kind}\n`)
    expect(await look()).toBe(reason)
  })

  it.each(['dm', 'md'])('on a device of %s cannot boot once', async (kind) => {
    await begin()
    machine.write(`sys/dev/block/254:1/${kind}/name`, 'x')
    expect(await look()).toContain('LVM, RAID or an encrypted disk')
  })

  it('without grub-editenv cannot boot once', async () => {
    await begin()
    machine.remove(`${old}/sw/bin/grub-editenv`)
    expect(await look()).toContain('no grub-editenv, as with boot.loader.grub.device = "nodev"')
  })

  it('cannot boot once where /etc does not survive a reboot, or systemd does not read the fallback', async () => {
    await begin()
    machine.answer('findmnt-etc-FSTYPE', 'autofs\noverlay\n')
    expect(await look()).toBe('/etc does not survive a reboot')
    machine.answer('unit-path', '/etc/systemd/system /run/systemd/system\n')
    expect(await look()).toContain('its systemd reads no units from')
  })

  it('is unknown where /boot has no menu', async () => {
    await begin()
    machine.remove('boot/grub/grub.cfg')
    expect(await look()).toBe('there is no menu of GRUB or systemd-boot on /boot')
  })

  it('of systemd gets its entry for one boot last', async () => {
    await begin()
    machine.remove('boot/grub/grub.cfg')
    machine.write('boot/loader/loader.conf', 'default nixos-generation-1.conf\n')
    expect(await look()).toBe('its firmware has no EFI variables')
    machine.write('sys/firmware/efi/efivars/x', '')
    expect(await lookAtBootLoader(machine.host, run)).toEqual({ loader: 'systemd-boot', obstacle: undefined })
    const entry = 'boot/loader/entries/nixos-hydra_ops-generation-1+3.conf'
    machine.write(entry, `title NixOS\noptions init=${machine.path(next)}/init loglevel=4\n`)
    expect(await prepare({}, 'systemd-boot')).toBe('0')
    expect(machine.read(entry)).toContain('loglevel=4 panic=10 boot.panic_on_fail hydra-ops.boot-once=r1')
    expect(machine.calls().at(-1)).toBe('bootctl set-oneshot nixos-hydra_ops-generation-1.conf')
    await forget()
    expect(machine.calls()).toContain('bootctl set-oneshot ')
  })
})
