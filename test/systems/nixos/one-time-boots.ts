import { expect } from 'vitest'
import type { StorePath } from '../../../src/core/names.js'
import { hostOf } from '../../../src/machine/connect.js'
import type { MachineSession } from '../../../src/machine/machine.js'
import { runScript } from '../../../src/remote/run-script.js'
import { type BootingOnce, bootOnce, prepareScript } from '../../../src/systems/nixos/boot-once.js'
import { nixosActivation } from '../../../src/systems/nixos/places.js'
import { beginActivation, startKeep, usualTimes } from '../../../src/systems/nixos/steps.js'
import { type NixosGuest, sshd } from './guest.js'

/** Times that a boot of an emulated guest on a busy host never needs. */
export const times = { fallback: 1_500, hang: 1_600 }
/** Times for a boot that nobody can confirm. The hang ends before the fallback could. */
const [hopeless, hanging] = [
  { fallback: 60, hang: 1_600 },
  { fallback: 1_500, hang: 60 },
]

/** Steps of the preparation, as its script names them. */
const prepareSteps = [
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

/** The one-time boots of a guest. */
export class OneTimeBoots {
  readonly guest: NixosGuest

  constructor(guest: NixosGuest) {
    this.guest = guest
  }

  /** Starts an activation that waits for a boot. */
  async begin(next: StorePath) {
    const begun = await this.guest.begin()
    const { session } = begun
    const { seen } = await this.guest.look()
    const activation = nixosActivation('r1', next, seen.survey.bootId)
    const owner = session.deployment.record.uuid
    const beginning = {
      running: this.guest.old,
      old: this.guest.old,
      owner,
      action: 'none' as const,
      guarded: false,
      times: usualTimes,
    }
    await beginActivation(hostOf(session), activation, beginning, session.run)
    return { begun, going: { session, activation, progress: { lines: 0 } } }
  }

  /** Gives a session the power switch of the guest. */
  withPower(session: MachineSession): MachineSession {
    const provider: MachineSession['provider'] = {
      ...session.provider,
      makesMachines: true,
      stop: () => this.guest.guest.guest.powerCut(),
      start: async () => {
        await this.guest.guest.guest.boot()
        return undefined
      },
    }
    return Object.create(session, { provider: { value: provider } })
  }

  /** Prepares a boot, and stops the preparation for good after a step. */
  async prepareUntil({ session, activation }: BootingOnce, loader: string, step: string): Promise<void> {
    const { prepareUnit: unit, log, folder } = activation
    const prepare = prepareScript(activation, { old: this.guest.old, loader, times })
    const stopping = `steps_left=${prepareSteps.indexOf(step)}\n${prepare}`
    const values = { unit, log, folder, old: this.guest.old, prepare: stopping }
    await runScript(hostOf(session), { what: 'prepare', script: 'nixos/boot-start', values }, session.run)
    await this.guest.until('grep -qx "step $1" "$2"', step, log)
  }

  /** Boots a system once, confirms the boot, and makes the system the boot default. */
  async confirmAndKeep(next: StorePath): Promise<void> {
    const { guest } = this
    const { old } = guest
    const { going } = await this.begin(next)
    const booted = await bootOnce(going, times)
    expect(booted.bootId).not.toBe(going.activation.bootId)
    expect(await guest.look()).toMatchObject({ current: next, booted: next, profile: old, bootDefault: old })
    await this.expectNoRemains()
    const { session } = going
    await startKeep(hostOf(session), booted, old, session.run)
    await guest.until('test -e /var/lib/hydra-ops/activations/r1/kept')
    const all = { current: next, booted: next, profile: next, bootDefault: next }
    expect(await guest.look()).toMatchObject(all)
    expect(await guest.sh('grep -rls hydra_ops /boot/grub/grub.cfg /boot/loader || true')).toBe('')
  }

  /** Boots a system that panics, and expects that the old system comes back. */
  async expectBackAfterPanic(): Promise<void> {
    const next = await this.guest.system('next', { services: sshd, boot: 'panic' })
    const { going } = await this.begin(next)
    await this.expectBack(
      bootOnce(going, times),
      'ended before a login, for example by a panic or a power cut',
    )
  }

  /** Boots a system that lets nobody log in, and expects that the old system comes back. */
  async expectBackWithoutSshd(): Promise<void> {
    const { going } = await this.begin(await this.guest.system('next'))
    await this.expectBack(bootOnce(going, hopeless), 'nobody confirmed the new system in time')
  }

  /** Boots a system that hangs, and expects that a power cut brings the old system back. */
  async expectBackAfterHang(): Promise<void> {
    const next = await this.guest.system('next', { services: sshd, boot: 'hang' })
    const { going } = await this.begin(next)
    const session = this.withPower(going.session)
    await this.expectBack(
      bootOnce({ ...going, session }, hanging),
      'did not come up within 60 s, so its power was cut',
    )
  }

  private async expectBack(work: Promise<unknown>, reason: string): Promise<void> {
    await expect(work).rejects.toMatchObject({ code: 'WENT_BACK', message: expect.stringContaining(reason) })
    await this.expectOld()
  }

  /** Checks that the old system runs after a normal boot and is the boot default, and that nothing is left. */
  async expectOld(): Promise<void> {
    const { old } = this.guest
    const all = { current: old, booted: old, profile: old, bootDefault: old, timers: '0' }
    expect(await this.guest.look()).toMatchObject(all)
    await this.expectNoRemains()
    expect(await this.guest.sh('cat /proc/cmdline')).not.toContain('boot-once')
  }

  async expectNoRemains(): Promise<void> {
    const left =
      await this.guest.sh(`ls /etc/systemd/system.control /var/lib/hydra-ops/boot-once 2> /dev/null || true
ls /nix/var/nix/profiles/system-profiles
ls /sys/firmware/efi/efivars/LoaderEntryOneShot-* 2> /dev/null || true
if [ -e /boot/grub/grubenv ]; then grub-editenv /boot/grub/grubenv list | grep next_entry=. || true; fi`)
    expect(left).toBe('')
  }
}
