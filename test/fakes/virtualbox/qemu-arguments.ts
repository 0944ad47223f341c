import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { unknown } from './answer.js'
import type { Launch } from './engine.js'
import { qemuFormat } from './images.js'
import type { Controller, Machine, Medium, Nic } from './model.js'
import { readVdi } from './vdi.js'

/** Returns QEMU's arguments for a machine. NAT rules are added later, before QEMU starts the guest. */
export function qemuArguments({ machine, media, stateFile, folder }: Launch): string[] {
  const home = join(folder, '..', '..')
  const { values, nics, uarts, controllers } = machine.hardware
  return [
    ...['-name', machine.name.replaceAll(',', ',,'), '-accel', 'tcg'],
    ...['-machine', values.chipset === 'ich9' ? 'q35' : 'pc'],
    ...['-m', String(Math.max(32, Number(values.memory))), '-smp', String(values.cpus)],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-vga', 'std', '-S'],
    ...['-qmp', 'unix:qmp.sock,server=on,wait=off'],
    ...['-rtc', values.rtcuseutc === 'on' ? 'base=utc' : 'base=localtime'],
    ...['-device', 'virtio-rng-pci', '-boot', 'menu=off'],
    ...firmware(String(values.firmware)),
    ...controllers.flatMap((controller) => controllerArguments(machine, controller, media)),
    ...nics.flatMap((nic, index) => nicArguments(nic, index + 1, home)),
    ...uarts.flatMap((uart) =>
      uart?.mode.startsWith('file,')
        ? ['-serial', `file:${uart.mode.slice('file,'.length)}`]
        : ['-serial', 'null'],
    ),
    ...(stateFile === undefined ? [] : ['-incoming', `exec:cat '${stateFile}'`]),
  ]
}

const efiCode = '/usr/share/OVMF/OVMF_CODE.fd'

function firmware(kind: string): string[] {
  if (kind === 'BIOS') return []
  if (kind !== 'EFI' && kind !== 'EFI64') throw unknown(`starting a machine with the firmware ${kind}`)
  if (!existsSync(efiCode)) throw unknown(`a host without ${efiCode}`)
  return ['-drive', `if=pflash,format=raw,readonly=on,file=${efiCode}`]
}

const buses: Readonly<Record<string, string>> = {
  sata: 'ich9-ahci',
  virtio: 'virtio-scsi-pci',
  ide: 'piix3-ide',
}

const sataPorts = 6

function controllerArguments(machine: Machine, controller: Controller, media: Launch['media']): string[] {
  const { name, bus } = controller
  const id = idOf(name)
  const device = buses[bus]
  if (device === undefined) throw unknown(`starting a machine with a controller for ${bus}`)
  const last = Math.max(0, ...Object.keys(controller.slots).map((place) => Number.parseInt(place, 10)))
  // QEMU's machine `pc` has a built-in IDE controller, and each SATA controller has six ports.
  const count = { ide: 0, virtio: 1 }[bus] ?? Math.floor(last / sataPorts) + 1
  const head = Array.from({ length: count }, (_, number) => ['-device', `${device},id=${id}${number}`]).flat()
  const disks = Object.entries(controller.slots).flatMap(([place, { kind, medium: uuid }]) => {
    const [port = '0', unit = '0'] = place.split('-')
    const drive = `${name}-${place}`
    const medium = uuid === undefined ? undefined : media.get(uuid)
    const order = bootIndex(machine, kind, Number(port))
    const boot = order === undefined ? '' : `,bootindex=${order}`
    const seat = {
      sata: `bus=${id}${Math.floor(Number(port) / sataPorts)}.${Number(port) % sataPorts}`,
      ide: `bus=ide.${port},unit=${unit}`,
      virtio: `bus=${id}0.0,scsi-id=${port}`,
    }[bus]
    const type =
      bus === 'virtio' ? (kind === 'hdd' ? 'scsi-hd' : 'scsi-cd') : kind === 'hdd' ? 'ide-hd' : 'ide-cd'
    if (medium === undefined) return kind === 'hdd' ? [] : ['-device', `${type},${seat}`]
    const readOnly = kind === 'hdd' ? '' : ',readonly=on,media=cdrom'
    return [
      '-drive',
      `if=none,id=${idOf(drive)},${drivePart(medium, media, '')},cache=unsafe${readOnly}`,
      '-device',
      `${type},${seat},drive=${idOf(drive)}${boot}`,
    ]
  })
  return [...head, ...disks]
}

/** Returns the options with which QEMU opens a medium and its parents. */
function drivePart(medium: Medium, media: Launch['media'], prefix: string): string {
  const node = `${prefix}node-name=${nodeOf(medium.uuid)}`
  const path = medium.path.replaceAll(',', ',,')
  const file = `${node},${prefix}file.driver=file,${prefix}file.filename=${path}`
  if (medium.parent !== undefined) {
    const parent = media.get(medium.parent)
    if (parent === undefined) throw unknown(`a machine whose medium ${medium.parent} is not registered`)
    return `${prefix}driver=qcow2,${file},${drivePart(parent, media, `${prefix}backing.`)}`
  }
  const vdi = medium.format === 'VDI' ? readVdi(medium.path) : undefined
  if (vdi?.straight !== true) return `${prefix}driver=${qemuFormat(medium)},${file}`
  const size = Math.ceil(vdi.bytes / 512) * 512
  return `${prefix}driver=raw,${prefix}offset=${vdi.dataOffset},${prefix}size=${size},${file}`
}

/** Returns QEMU's name for an open medium, which may have at most 31 characters. */
export function nodeOf(uuid: string): string {
  return `m${uuid.replaceAll('-', '').slice(0, 24)}`
}

/** Returns a valid QEMU ID for a name. */
export function idOf(name: string): string {
  return `d${name.replace(/[^A-Za-z0-9-]/g, '_')}`
}

/** Returns a device's place in the boot order; undefined if the machine does not boot from the device. */
function bootIndex({ hardware }: Machine, kind: 'hdd' | 'dvddrive', port: number): number | undefined {
  const wanted = kind === 'hdd' ? 'disk' : 'dvd'
  const place = ['boot1', 'boot2', 'boot3', 'boot4'].findIndex((key) => hardware.values[key] === wanted)
  return place < 0 ? undefined : place * 100 + port
}

const nicTypes: Readonly<Record<string, string>> = {
  virtio: 'virtio-net-pci',
  '82540EM': 'e1000',
  '82543GC': 'e1000-82544gc',
  '82545EM': 'e1000-82545em',
  Am79C970A: 'pcnet',
  Am79C973: 'pcnet',
}

/**
 * Returns QEMU's arguments for a network card. NAT is QEMU's user network without outside access. Machines on the same
 * internal, host-only or NAT network reach each other.
 */
function nicArguments(nic: Nic, number: number, home: string): string[] {
  if (nic.attachment === 'none') return []
  const type = nicTypes[nic.type]
  if (type === undefined) throw unknown(`starting a machine with a network card ${nic.type}`)
  const mac = nic.mac.replace(/(..)(?=.)/g, '$1:').toLowerCase()
  return ['-netdev', networkArgument(nic, number, home), '-device', `${type},netdev=nic${number},mac=${mac}`]
}

function networkArgument(nic: Nic, number: number, home: string): string {
  const id = `id=nic${number}`
  if (nic.attachment === 'nat') {
    const subnet = nic.subnet === 'nat' ? `10.0.${number + 1}.0/24` : nic.subnet
    return `user,${id},restrict=on,ipv6=off,net=${subnet}`
  }
  const group = multicastGroup(nic, home)
  return group === undefined
    ? `hubport,${id},hubid=${number}`
    : `socket,${id},mcast=${group.address}:${group.port},localaddr=127.0.0.1`
}

/**
 * Returns the multicast group on the loopback device that connects an adapter's network; undefined for a network
 * without other machines.
 */
export function multicastGroup(
  { attachment, internalNetwork, hostOnlyAdapter, natNetwork }: Nic,
  home: string,
): { address: string; port: number } | undefined {
  const names: Readonly<Record<string, string>> = {
    intnet: internalNetwork,
    hostonly: hostOnlyAdapter,
    natnetwork: natNetwork,
  }
  const name = names[attachment]
  if (name === undefined) return undefined
  const hash = createHash('sha256').update(`${home}\0${attachment}\0${name}`).digest()
  const address = `230.${hash.subarray(0, 3).join('.')}`
  return { address, port: 20_000 + (hash.readUInt16BE(3) % 10_000) }
}
