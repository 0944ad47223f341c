import { createHash } from 'node:crypto'
import type { Forward } from '../common/ports.js'
import type { ControllerName } from './config.js'

/**
 * The complete wanted form of a machine in VirtualBox. The forwarded ports can change while the machine runs. All
 * other parts can change only while the machine is off.
 */
export interface MachineSpec {
  readonly memoryMiB: number
  readonly vcpu: number
  readonly firmware: 'bios' | 'efi'
  readonly controller: ControllerName
  readonly disks: readonly MachineDisk[]
  readonly mac: string
  readonly nics: readonly MachineNic[]
  readonly forwards: readonly Forward[]
  readonly sharedFolders: readonly SharedFolder[]
  readonly console: string
  readonly vmFlags: readonly string[]
  readonly extraFlags: Readonly<Record<string, string>>
  /** Hash of the identity, which the guest reads at its next start. */
  readonly identity: string
}

export interface MachineDisk {
  readonly port: number
  readonly path: string
  /** Name of the disk in the plan, such as `data`. */
  readonly title: string
}

/** A network interface other than the interface for ssh. */
export interface MachineNic {
  readonly number: number
  readonly kind: 'hostonly' | 'hostonlynet' | 'intnet'
  readonly source: string
  readonly mac: string
}

export interface SharedFolder {
  readonly name: string
  readonly hostPath: string
  readonly readOnly: boolean
}

/** Port of the seed disk, after the ports of the user's disks. */
export const seedPort = 8
export const portCount = 10

/** Hashes all settings except paths and forwarded ports, which are compared with the machine itself. */
export function specDigest(spec: MachineSpec): string {
  const { disks, forwards, console, ...facts } = spec
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 16)
}

/** Returns the arguments of `modifyvm` for the whole machine. VirtualBox applies either all of them or none. */
export function settingsArgs(spec: MachineSpec): string[] {
  return [
    ...['--memory', String(spec.memoryMiB), '--cpus', String(spec.vcpu), '--vram', '16'],
    ...['--firmware', spec.firmware, '--ioapic', 'on', '--rtcuseutc', 'on', '--audio-driver', 'none'],
    ...['--graphicscontroller', 'vmsvga', '--paravirtprovider', 'kvm'],
    ...['--boot1', 'disk', '--boot2', 'none', '--boot3', 'none', '--boot4', 'none'],
    ...nicArgs(1, ['--nic1', 'nat'], spec.mac),
    ...[2, 3].flatMap((number) => otherNicArgs(number, spec.nics)),
    ...serialArgs(spec),
    ...spec.vmFlags,
    ...Object.entries(spec.extraFlags).flatMap(([name, value]) => [`--${name}`, value]),
  ]
}

/** Returns the arguments of `modifyvm` for the serial port, whose output becomes the console log. */
export function serialArgs({ console }: Pick<MachineSpec, 'console'>): string[] {
  return ['--uart1', '0x3F8', '4', '--uartmode1', 'file', console]
}

function otherNicArgs(number: number, nics: readonly MachineNic[]): string[] {
  const nic = nics.find((each) => each.number === number)
  if (nic === undefined) return [`--nic${number}`, 'none']
  const option = { hostonly: 'hostonlyadapter', hostonlynet: 'host-only-net', intnet: 'intnet' }[nic.kind]
  return nicArgs(number, [`--nic${number}`, nic.kind, `--${option}${number}`, nic.source], nic.mac)
}

function nicArgs(number: number, kind: readonly string[], mac: string): string[] {
  return [
    ...kind,
    ...[`--nictype${number}`, 'virtio', `--macaddress${number}`, mac.replaceAll(':', '').toUpperCase()],
    ...[`--cableconnected${number}`, 'on'],
  ]
}
