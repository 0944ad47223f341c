import { DeploymentUuid, type StorePath } from '../../../src/core/names.js'
import { askMachine, runScript } from '../../../src/remote/run-script.js'
import { prepareScript } from '../../../src/systems/nixos/boot-once.js'
import {
  bootOnceFolder,
  bootOnceProfile,
  nixosActivation,
  systemProfile,
} from '../../../src/systems/nixos/places.js'
import { beginActivation, usualTimes } from '../../../src/systems/nixos/steps.js'
import { recordingRun } from '../../fakes/fake-target.js'
import type { ScratchNixos } from '../../fakes/scratch-nixos.js'
import type { Loader } from '../../fixtures/nixos-system/nixos-system.js'

const owner = DeploymentUuid.parse('0b6f3a4e-6f0c-4d51-9f3e-2a1f5f7c1a01')
export const control = 'etc/systemd/system.control'
export const run = recordingRun()

/** The one-time boots of a scratch folder, from a system `old` to a system `next`. */
export class ScratchBoots {
  readonly old: StorePath
  readonly next: StorePath
  readonly folder = '/var/lib/hydra-ops/activations/r1'
  private readonly machine: ScratchNixos
  private readonly loader: Loader

  constructor(machine: ScratchNixos, loader: Loader = 'grub') {
    this.machine = machine
    this.loader = loader
    this.old = machine.system('old', { loader })
    this.next = machine.system('next', { loader })
    machine.run(this.old)
    machine.makeMenu(this.old)
  }

  get activation() {
    return nixosActivation('r1', this.next, 'boot-1')
  }

  start(id = 'r1') {
    const { old } = this
    const beginning = { running: old, old, owner, action: 'none' as const, guarded: false, times: usualTimes }
    return beginActivation(this.machine.host, nixosActivation(id, this.next, 'boot-1'), beginning, run)
  }

  /** Prepares the boot as its unit does, and returns the result. `steps_left` kills the unit at that step. */
  async prepare(env: { steps_left?: string } = {}): Promise<string | undefined> {
    const { machine, old, folder, activation } = this
    const { prepareUnit: unit, log } = activation
    const loader = this.loader === 'grub' ? 'grub' : 'systemd-boot'
    const prepare = prepareScript(activation, { old, loader, times: { fallback: 330, hang: 900 } })
    await runScript(
      machine.host,
      { what: 'start', script: 'nixos/boot-start', values: { unit, log, folder, old, prepare } },
      run,
    )
    await machine.runPlaced(old, `${folder}/prepare`, env)
    return machine.read(`${folder}/prepared`)
  }

  async confirm(): Promise<string> {
    const values = { run: 'r1', new: this.next, once: bootOnceFolder }
    const wish = { what: 'confirm', script: 'nixos/boot-confirm', values }
    const facts = await askMachine(this.machine.host, wish, run)
    return ['entered', 'state', 'won'].map((name) => facts.get(name)?.[0]).join(' ')
  }

  forget(menu = true): Promise<unknown> {
    const values = {
      run: 'r1',
      unit: this.activation.prepareUnit,
      once: bootOnceFolder,
      profile: bootOnceProfile,
      default: systemProfile,
      menu,
      log: '/var/log/hydra-ops/r1.log',
    }
    return runScript(this.machine.host, { what: 'forget', script: 'nixos/boot-forget', values }, run)
  }

  /** Lists the remains of a one-time boot on the machine. */
  remains(): string[] {
    const { machine } = this
    return [
      ...machine.list(control),
      ...machine.list('nix/var/nix/profiles/system-profiles'),
      ...(machine.exists(bootOnceFolder) ? [bootOnceFolder] : []),
      ...(this.entersOnce() ? ['the entry for one boot'] : []),
    ]
  }

  /** Tells whether the boot loader has an entry for one boot. */
  entersOnce(): boolean {
    return this.loader === 'grub'
      ? /^next_entry=.+/m.test(this.machine.read('boot/grub/grubenv') ?? '')
      : this.machine.variable('LoaderEntryOneShot') !== undefined
  }
}
