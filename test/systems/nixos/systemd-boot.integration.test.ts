import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { lookAtBootLoader } from '../../../src/systems/nixos/boot-once.js'
import { systemProfile } from '../../../src/systems/nixos/places.js'
import { surveyNixos } from '../../../src/systems/nixos/survey.js'
import { ScratchNixos } from '../../fakes/scratch-nixos.js'
import type { Loader } from '../../fixtures/nixos-system/nixos-system.js'
import { control, run, ScratchBoots } from './scratch-boots.js'

const menus = ['systemd-boot', 'boot-counting'] as const
const folder = 'boot/loader/entries'

let machine: ScratchNixos
let boots: ScratchBoots

beforeEach(() => {
  machine = new ScratchNixos()
})
afterEach(() => machine.dispose())

/** Starts an activation on a machine that systemd-boot started. */
async function begin(loader: Loader): Promise<void> {
  boots = new ScratchBoots(machine, loader)
  machine.bootBySystemdBoot()
  await boots.start()
}

const look = () => lookAtBootLoader(machine.host, run)
/** Takes the scratch folder out of a text. */
const plain = (text: string | undefined) => text?.replaceAll(machine.folder, '')
const bootDefault = async () => plain((await surveyNixos(machine.host, run)).bootDefault)
const boot = () => machine.bootBySystemdBoot()

/** Returns the name of the only entry with a text. */
function entryWith(text: string): string {
  const found = machine.list(folder).filter((name) => machine.read(`${folder}/${name}`)?.includes(text))
  expect(found).toHaveLength(1)
  return found[0] ?? ''
}

describe.each(menus)('a one-time boot by systemd-boot with the menu “%s”', (loader) => {
  it('leads one boot to the new system, and all others to the old one', async () => {
    await begin(loader)
    const { old, next } = boots
    expect(await look()).toEqual({ loader: 'systemd-boot', obstacle: undefined })
    expect(await bootDefault()).toBe(old)
    expect(await boots.prepare()).toBe('0')
    expect(machine.variable('LoaderEntryOneShot')).toBe(entryWith('[hydra_ops]'))
    expect(await bootDefault()).toBe(old)
    const words = expect.stringContaining(' panic=10 boot.panic_on_fail hydra-ops.boot-once=r1')
    expect(boot()).toEqual({ system: next, words })
    expect(boot()).toEqual({ system: old, words: expect.not.stringContaining('panic=10') })
    expect(machine.target(systemProfile)).toBe(old)
  })

  it('is not counted, because its fallback already limits the boot', async () => {
    await begin(loader)
    await boots.prepare()
    boot()
    expect(entryWith('[hydra_ops]')).toMatch(/^nixos-[^+]*\.conf$/)
  })

  it('leaves nothing after its confirmation, so that the menu of the new system replaces the entry', async () => {
    await begin(loader)
    await boots.prepare()
    boot()
    expect(await boots.confirm()).toBe('yes confirmed yes')
    await boots.forget(false)
    expect(boots.remains()).toEqual([])
    machine.run(boots.next)
    machine.makeMenu(boots.next)
    expect(await bootDefault()).toBe(boots.next)
    expect(boot().system).toBe(boots.next)
    expect(machine.list(folder)).toHaveLength(2)
  })

  it.each([
    ['armed', 5],
    ['menu', 7],
    ['entry', 8],
    ['next', 9],
  ])('whose preparation dies at the step “%s” leaves the old system the boot default', async (step, left) => {
    await begin(loader)
    await boots.prepare({ steps_left: String(left) })
    expect(boots.entersOnce()).toBe(step === 'next')
    if (step === 'next') expect(boot().system).toBe(boots.next)
    expect(boot().system).toBe(boots.old)
    await boots.forget()
    expect(boots.remains()).toEqual([])
    expect(machine.list(folder)).toHaveLength(1)
    expect(await boots.prepare()).toBe('0')
  })

  it('loses its entry for one boot, its fallback and its part of the menu with the one-time boot', async () => {
    await begin(loader)
    await boots.prepare()
    machine.write(`${folder}/nixos-x.conf.hydra-ops`, 'the copy that a power cut left\n')
    await boots.forget()
    expect(boots.remains()).toEqual([])
    expect(machine.list(control)).toEqual([])
    expect(machine.list(folder)).toHaveLength(1)
    expect(boot().system).toBe(boots.old)
  })

  it('is refused if a variable of the firmware chooses another boot default', async () => {
    await begin(loader)
    const other = machine.system('other', { loader })
    machine.run(other)
    machine.run(boots.old)
    machine.makeMenu(boots.old)
    machine.setVariable('LoaderEntryPreferred', entryWith(`${other}/init`).replace('+3', ''))
    expect(await bootDefault()).toBe(other)
    expect(await boots.prepare()).toMatch(/^1 the boot menu starts \S+-other, and not \S+-old$/)
    expect(boots.entersOnce()).toBe(false)
  })

  it('says why if the firmware takes no entry for one boot', async () => {
    await begin(loader)
    machine.answer('findmnt-efivars-OPTIONS', 'ro,nosuid\n')
    expect(await boots.prepare()).toBe('1 systemd-boot could not be told the entry for one boot')
    await boots.forget()
    expect(boots.remains()).toEqual([])
    expect(boot().system).toBe(boots.old)
  })
})

describe('the boot default of systemd-boot', () => {
  it('is unknown if an older systemd-boot does not know the preferred entry of its menu', async () => {
    await begin('boot-counting')
    machine.setVariable('LoaderInfo', 'systemd-boot 257.9')
    expect(await bootDefault()).toBe(boots.old)
    machine.run(machine.system('other', { loader: 'boot-counting' }))
    machine.makeMenu(boots.old)
    expect(await bootDefault()).toBeUndefined()
    machine.setVariable('LoaderInfo', 'systemd-boot 260')
    expect(await bootDefault()).toBe(boots.old)
  })

  it('is not a preferred entry whose tries are used up', async () => {
    await begin('boot-counting')
    const other = machine.system('other', { loader: 'boot-counting' })
    machine.run(other)
    machine.makeMenu(other)
    expect(await bootDefault()).toBe(other)
    for (let boots = 0; boots < 3; boots += 1) boot()
    expect(entryWith(`${other}/init`)).toContain('+0-3')
    expect(await bootDefault()).toBeUndefined()
  })
})

describe('a look at systemd-boot', () => {
  it('ignores a menu of GRUB that remains from before', async () => {
    await begin('systemd-boot')
    machine.write('boot/grub/grub.cfg', 'menuentry "x" {\nlinux x init=/nix/store/x/init\n}\n')
    expect(await look()).toEqual({ loader: 'systemd-boot', obstacle: undefined })
    expect(await bootDefault()).toBe(boots.old)
  })

  it.each([
    [
      'the variables of the firmware are read-only',
      () => machine.answer('findmnt-efivars-OPTIONS', 'ro,nosuid,nodev\n'),
      'the variables of its firmware are read-only',
    ],
    [
      'the variables of the firmware are not mounted',
      () => {
        machine.remove('sys/firmware/efi/efivars')
        machine.write('sys/firmware/efi/efivars/.keep', '')
        machine.answer('findmnt-efivars-FSTYPE', 'sysfs\n')
      },
      'its firmware has no EFI variables, or /sys/firmware/efi/efivars is not mounted',
    ],
    [
      'another boot loader started the machine',
      () => machine.setVariable('LoaderInfo', 'rEFInd 0.14'),
      'another boot loader than the systemd-boot of /boot started the machine',
    ],
    [
      'the old system has no bootctl',
      () => machine.remove(`${boots.old}/sw/bin/bootctl`),
      'its system has no bootctl',
    ],
    [
      'the menu lies elsewhere',
      () => machine.remove('boot/loader'),
      'systemd-boot started the machine, and its menu is not on /boot',
    ],
  ])('finds an obstacle if %s', async (_, spoil, obstacle) => {
    await begin('systemd-boot')
    spoil()
    expect(plain((await look()).obstacle)).toBe(obstacle)
  })
})
