import { expect } from 'vitest'
import type { MachineRecord } from '../../../src/core/deployment.js'
import type { StorePath } from '../../../src/core/names.js'
import { hostOf } from '../../../src/machine/connect.js'
import type { MachineSession } from '../../../src/machine/machine.js'
import { activateSystem, reattach } from '../../../src/systems/nixos/activation.js'
import { statusOf } from '../../../src/systems/nixos/status.js'
import { surveyNixos } from '../../../src/systems/nixos/survey.js'
import { guestTimes, NixosGuest, options, sshd } from './guest.js'
import { type Place, stoppingSsh } from './stopping.js'

const quick = { ...guestTimes, watch: 0, watchLonger: 0 }
const afterStop = { timeout: 5 * 60_000, interval: 25 }

/** A guest with systems to deploy, and operators who disappear one after the other. */
export class GuestDeploys {
  readonly guest: NixosGuest
  readonly next: StorePath
  /** A system whose activation fails, so that the guard switches back. */
  readonly bad: StorePath
  /** A system with another kernel. */
  readonly kernel: StorePath
  private runs = 0
  /** Activation in the record of the operator who disappeared. */
  private left: MachineRecord['activation']

  private constructor(guest: NixosGuest, [next, bad, kernel]: readonly [StorePath, StorePath, StorePath]) {
    this.guest = guest
    this.next = next
    this.bad = bad
    this.kernel = kernel
  }

  static async start(): Promise<GuestDeploys> {
    const guest = await NixosGuest.start()
    const next = await guest.system('next', { services: sshd })
    const bad = await guest.system('bad', { services: sshd, row: 'snippet-fails' })
    const kernel = await guest.system('kernel', { services: sshd, kernel: 'kernel 2' })
    await guest.sh('sync')
    await guest.guest.guest.snapshot('ready')
    return new GuestDeploys(guest, [next, bad, kernel])
  }

  /** Resets the guest to its state before all deploys. */
  async reset(): Promise<void> {
    await this.guest.reset()
    this.left = undefined
  }

  /**
   * Deploys a system until a script stops at a place and reports so on the serial console. `then` runs at once, and the
   * operator is gone afterwards.
   */
  async stopAt(place: Place, path: StorePath, end: string, then: () => Promise<unknown>): Promise<void> {
    const mark = `the script stops here, run ${this.runs + 1}`
    const stop = `echo "${mark}" > /dev/console; ${end}`
    const begun = await this.begin((ssh) => stoppingSsh(ssh, place, stop))
    const ended = this.deploy(begun.session, path).then(
      () => new Error(`the deploy ended and did not stop\n${begun.lines.join('\n')}`),
      (error: unknown) => new Error(`the deploy ended: ${error}\n${begun.lines.join('\n')}`),
    )
    const early = await Promise.race([ended, this.guest.untilSays(mark, afterStop)])
    if (early !== undefined) throw early
    this.left = begun.record().activation
    const afterwards = then()
    begun.interrupt()
    await afterwards
    await ended
  }

  /** Deploys once more, and checks that everything is as after an undisturbed deploy. */
  async expectConverged(path: StorePath): Promise<void> {
    const begun = await this.begin()
    await this.deploy(begun.session, path)
    this.left = undefined
    const { seen, ...where } = await this.guest.look()
    expect(where, begun.lines.join('\n')).toEqual({
      current: path,
      booted: path === this.kernel ? path : where.booted,
      profile: path,
      bootDefault: path,
      timers: '0',
    })
    expect(begun.record().activation).toBeUndefined()
    const { previous, notes } = statusOf(seen)
    expect(previous).toBe(this.guest.old)
    // Each made-up system has its own kernel, which only a boot changes.
    expect(notes.filter((note) => where.booted === path || !note.startsWith('reboot needed'))).toEqual([])
    expect(seen.survey.profile).toBe(path)
    expect(await this.remains()).toBe('')
    expect(await this.guest.sh('ls /nix/var/nix/gcroots/hydra-ops')).toBe('previous')
  }

  /** Checks that the old system runs and is the boot default, and returns the notes of `info`. */
  async expectOld(): Promise<readonly string[]> {
    const { old } = this.guest
    const { seen, ...where } = await this.guest.look()
    expect(where).toEqual({ current: old, booted: old, profile: old, bootDefault: old, timers: '0' })
    expect(seen.armed).toEqual([])
    return statusOf(seen).notes
  }

  private begin(change?: Parameters<NixosGuest['begin']>[1]) {
    this.runs += 1
    return this.guest.begin({ run: `r${this.runs}`, activation: this.left }, change)
  }

  /** Runs the steps of a deploy for a machine that has the closure. */
  private async deploy(session: MachineSession, path: StorePath): Promise<void> {
    await reattach(session)
    const { survey } = await surveyNixos(hostOf(session), session.run)
    if (survey.profile === path) return
    const bootOnce = path === this.kernel
    const { trial } = await activateSystem(session, path, { ...options, bootOnce }, quick)
    await trial?.keep()
  }

  /** Lists the files and settings on the guest that belong only to a one-time boot. */
  private remains(): Promise<string> {
    return this.guest.sh(`ls /etc/systemd/system.control /var/lib/hydra-ops/boot-once 2> /dev/null || true
ls /nix/var/nix/profiles/system-profiles 2> /dev/null || true
grub-editenv /boot/grub/grubenv list | grep next_entry=. || true
grep -o hydra_ops /boot/grub/grub.cfg || true`)
  }
}
