import { utimesSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { StorePath } from '../../../src/core/names.js'
import { lookAtBootLoader } from '../../../src/systems/nixos/boot-once.js'
import { bootOnceFolder, systemProfile } from '../../../src/systems/nixos/places.js'
import { ScratchNixos } from '../../fakes/scratch-nixos.js'
import { control, run, ScratchBoots } from './scratch-boots.js'

let machine: ScratchNixos
let boots: ScratchBoots
let old: StorePath
let next: StorePath

beforeEach(() => {
  machine = new ScratchNixos()
})
afterEach(() => machine.dispose())

/** Starts an activation that waits for a boot, on a machine with a boot menu. */
async function begin(): Promise<void> {
  boots = new ScratchBoots(machine)
  ;({ old, next } = boots)
  await boots.start()
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
    expect(await boots.prepare()).toBe('0')
    expect(machine.boot()).toEqual({
      system: next,
      words: expect.stringContaining(' panic=10 boot.panic_on_fail hydra-ops.boot-once=r1'),
    })
    expect(machine.boot()).toEqual({ system: old, words: expect.not.stringContaining('panic=10') })
    expect(machine.target(systemProfile)).toBe(old)
  })

  it('has a fallback that systemd reads in each system and starts in this boot alone', async () => {
    await begin()
    await boots.prepare()
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
      await boots.prepare({ steps_left: String(steps.indexOf(step)) })
      expect(machine.read(`${boots.folder}/prepared`)).toBeUndefined()
      expect(boots.entersOnce()).toBe(step === 'next')
      if (step === 'next') {
        expect(hasFallback()).toBe(true)
        expect(machine.boot().system).toBe(next)
      }
      expect(machine.boot().system).toBe(old)
      await boots.forget()
      expect(boots.remains()).toEqual([])
      expect(machine.read('boot/grub/grub.cfg')).not.toContain('hydra_ops')
      expect(await boots.prepare()).toBe('0')
    },
  )

  it.each([
    ['menu', () => machine.write(`${old}/row`, 'boot-full\n'), 'the boot menu could not be made (status 1)'],
    ['profile', () => machine.answer('no-set'), 'the profile of the new system could not be set'],
    ['entry', () => machine.answer('no-editenv'), 'GRUB could not be told the entry for one boot'],
  ])('says why, and boots the old system, if the %s cannot be written', async (_, spoil, reason) => {
    await begin()
    spoil()
    expect(await boots.prepare()).toBe(`1 ${reason}`)
    expect(machine.boot().system).toBe(old)
  })

  it('is refused if the menu would start a system other than the old one by default', async () => {
    await begin()
    machine.write(`${old}/bin/switch-to-configuration`, '#!/bin/sh\nexit 0\n', 0o755)
    machine.write('boot/grub/grub.cfg', `menuentry "x" {\nlinux x init=${machine.path(next)}/init\n}\n`)
    expect(await boots.prepare()).toMatch(/^1 the boot menu starts \S+-next, and not \S+-old$/)
  })

  it('is prepared anew after an earlier one that nobody removed', async () => {
    await begin()
    await boots.prepare()
    expect(machine.boot().system).toBe(next)
    machine.boot()
    expect(await boots.prepare()).toBe('0')
    expect(machine.list('nix/var/nix/profiles/system-profiles')).toEqual(['hydra_ops', 'hydra_ops-1-link'])
    expect(machine.boot().system).toBe(next)
  })
})

describe('the confirmation of a one-time boot', () => {
  it('keeps the machine in the new system, and the fallback then does nothing', async () => {
    await begin()
    await boots.prepare()
    machine.boot()
    expect(await boots.confirm()).toBe('yes confirmed yes')
    await fallback()
    expect(machine.calls().join('\n')).not.toContain('reboot')
    // A lost answer makes the operator confirm again.
    expect(await boots.confirm()).toBe('yes confirmed yes')
    await boots.forget(false)
    expect(boots.remains()).toEqual([])
  })

  it('changes nothing in the old system, before the boot and after it', async () => {
    await begin()
    await boots.prepare()
    expect(await boots.confirm()).toBe('no armed no')
    machine.boot()
    machine.boot()
    expect(await boots.confirm()).toBe('no armed no')
  })

  it('has exactly one winner in each race with the fallback', async () => {
    await begin()
    await boots.prepare()
    machine.boot()
    machine.write(`${old}/sw/bin/sleep`, '#!/bin/sh\nkill -TERM $PPID\n', 0o755)
    for (let round = 0; round < 10; round += 1) {
      for (const file of ['confirmed', 'fired']) machine.remove(`${bootOnceFolder}/${file}`)
      machine.write(`${bootOnceFolder}/armed`, 'r1')
      const [said] = await Promise.all([boots.confirm(), fallback()])
      expect([said.endsWith(' yes'), machine.exists(`${bootOnceFolder}/fired`)].filter(Boolean)).toHaveLength(
        1,
      )
    }
  })
})

describe('the fallback of a one-time boot', () => {
  it('reboots into the old system, also if GRUB did not remove its entry', async () => {
    await begin()
    await boots.prepare()
    machine.boot()
    machine.write('boot/grub/grubenv', "# GRUB Environment Block\nnext_entry=NixOS - Profile 'hydra_ops'>0\n")
    // The stand-in for systemctl reboots nothing; the end of the script takes the place of the reboot.
    machine.write(`${old}/sw/bin/sleep`, '#!/bin/sh\nkill -TERM $PPID\n', 0o755)
    await fallback()
    expect(machine.calls().at(-1)).toBe('systemctl --no-block reboot')
    expect(machine.exists(`${bootOnceFolder}/fired`)).toBe(true)
    expect(machine.boot().system).toBe(old)
    expect(await boots.confirm()).toBe('no fired no')
  })
})

describe('the removal of a one-time boot', () => {
  const removal = ['boot-loader', 'fallback', 'profile', 'menu']

  it.each(removal)('that dies at the step “%s” never leaves a boot without its fallback', async (step) => {
    await begin()
    await boots.prepare()
    const undo = killAt(removal.indexOf(step))
    await expect(boots.forget()).rejects.toThrow()
    undo()
    expect(boots.entersOnce() && !hasFallback()).toBe(false)
    expect(machine.boot().system).toBe(old)
    await boots.forget()
    expect(boots.remains()).toEqual([])
    expect(machine.read('boot/grub/grub.cfg')).not.toContain('hydra_ops')
  })

  it('leaves units that somebody else has in that folder', async () => {
    await begin()
    await boots.prepare()
    machine.write(`${control}/nginx.service.d/50-CPUWeight.conf`, '[Service]\nCPUWeight=50\n')
    await boots.forget()
    expect(machine.list(control)).toEqual(['nginx.service.d'])
  })

  it('is not part of another run', async () => {
    await begin()
    await boots.prepare()
    machine.write(`${bootOnceFolder}/run`, 'r7\n')
    await boots.forget()
    expect(hasFallback()).toBe(true)
  })
})

describe('a second operator', () => {
  it('begins nothing while a one-time boot is about to start, or waits to be confirmed', async () => {
    await begin()
    await boots.prepare()
    const refusal = { message: expect.stringContaining('the one-time boot of run r1 waits to be confirmed') }
    await expect(boots.start('r2')).rejects.toMatchObject({ code: 'BUSY', ...refusal })
    machine.boot()
    await expect(boots.start('r2')).rejects.toMatchObject({ code: 'BUSY', ...refusal })
    expect(hasFallback()).toBe(true)
  })

  it('removes a one-time boot whose operator died before the reboot', async () => {
    await begin()
    await boots.prepare()
    const hourAgo = new Date(Date.now() - 3_600_000)
    utimesSync(machine.path(`${bootOnceFolder}/armed`), hourAgo, hourAgo)
    await boots.start('r2')
    expect(boots.remains()).toEqual([])
    expect(machine.boot().system).toBe(old)
  })
})

describe('a boot loader', () => {
  const look = async () => (await lookAtBootLoader(machine.host, run)).obstacle

  it('of GRUB on a plain partition can boot once', async () => {
    await begin()
    expect(await lookAtBootLoader(machine.host, run)).toEqual({ loader: 'grub', obstacle: undefined })
    expect(boots.remains()).toEqual([])
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
})
