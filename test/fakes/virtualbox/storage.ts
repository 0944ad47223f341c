import { dirname, join } from 'node:path'
import { type Answer, answer, errorLine, type Place, Refusal, refusal, unknown } from './answer.js'
import { type Call, findMachine, lockForWrite, mutable } from './call.js'
import { addDifference, openMedium } from './media.js'
import {
  allSnapshots,
  attachedMedia,
  type Controller,
  devicesPerPort,
  freshController,
  type Machine,
  type Medium,
  maxPorts,
} from './model.js'
import { freshUuid, slotMedia } from './store.js'
import { unknownOption } from './usage.js'

const file = 'VBoxManageStorageController.cpp'
const inUse = { code: 'VBOX_E_OBJECT_IN_USE', component: 'SessionMachine' } as const
const notFound = { code: 'VBOX_E_OBJECT_NOT_FOUND', component: 'SessionMachine' } as const

async function machineFor(call: Call, line: number): Promise<Machine> {
  const name = call.words.next()
  if (name === undefined || name.startsWith('-')) throw unknown(`${call.verb} without a machine`)
  return await findMachine(call, name, [
    'FindMachine(Bstr(a->argv[0]).raw(), machine.asOutParam())',
    line,
    file,
  ])
}

/** Implements `storagectl MACHINE --name NAME [--add BUS | --remove] …`. */
export async function storageController(call: Call): Promise<Answer> {
  const machine = await machineFor(call, 1018)
  const given: Record<string, string> = {}
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (word === '--remove') given[word] = ''
    else if (
      ['--name', '--add', '--controller', '--portcount', '--bootable', '--hostiocache', '--rename'].includes(
        word,
      )
    ) {
      given[word] = call.words.value() ?? ''
    } else throw unknownOption(call.recorded, 'storagectl', word)
  }
  const { '--name': name, '--add': bus, '--rename': rename } = given
  if (name === undefined || rename !== undefined) throw unknown('these words of storagectl')
  lockForWrite(call, machine, 1022, file)
  const { hardware } = machine
  if ('--remove' in given) {
    const place: Place = ['RemoveStorageController(Bstr(pszCtl).raw())', 1072, file]
    const controller = hardware.controllers.find((each) => each.name === name)
    if (controller === undefined) {
      throw refusal(`Could not find a storage controller named '${name}'`, notFound, place)
    }
    mutable(call, machine, place)
    hardware.controllers = hardware.controllers.filter((each) => each !== controller)
  }
  if (bus !== undefined) addController(call, machine, name, bus, given['--controller'])
  const controller = hardware.controllers.find((each) => each.name === name)
  if (controller !== undefined) setController(controller, given)
  else if (!('--remove' in given)) throw unknown('storagectl of a controller that is not there')
  call.store.saveMachine(machine)
  return answer()
}

function addController(
  call: Call,
  machine: Machine,
  name: string,
  bus: string,
  type: string | undefined,
): void {
  const call_ = { sata: 'SATA', ide: 'IDE', virtio: 'VirtioSCSI' }[bus]
  const place: Place = [
    `AddStorageController(Bstr(pszCtl).raw(), StorageBus_${call_}, ctl.asOutParam())`,
    1088,
    file,
  ]
  if (machine.hardware.controllers.some((each) => each.name === name)) {
    throw refusal(`Storage controller named '${name}' already exists`, inUse, place)
  }
  mutable(call, machine, place)
  if (machine.hardware.controllers.some((each) => each.bus === bus)) {
    throw unknown(`a second controller for ${bus}`)
  }
  const made = freshController(name, bus, type)
  if (made === undefined) throw unknown(`storagectl --add ${bus} --controller ${type ?? 'by default'}`)
  machine.hardware.controllers.push(made)
}

function setController(controller: Controller, given: Readonly<Record<string, string>>): void {
  if (given['--portcount'] !== undefined) {
    const count = Number(given['--portcount'])
    const most = maxPorts[controller.bus] ?? 1
    if (!Number.isInteger(count) || controller.bus === 'ide') throw unknown('this --portcount')
    if (count < 1 || count > most) {
      throw refusal(
        `Invalid port count: ${count} (must be in range [1, ${most}])`,
        { code: 'NS_ERROR_INVALID_ARG', component: 'StorageControllerWrap' },
        ['COMSETTER(PortCount)(portcount)', 1212, file],
      )
    }
    const last = Math.max(-1, ...Object.keys(controller.slots).map((slot) => Number.parseInt(slot, 10)))
    if (last >= count) throw unknown('fewer ports than are in use')
    controller.portCount = count
  }
  for (const [option, key] of [
    ['--bootable', 'bootable'],
    ['--hostiocache', 'hostIoCache'],
  ] as const) {
    const value = given[option]
    if (value === undefined) continue
    if (value !== 'on' && value !== 'off') throw unknown(`storagectl ${option} ${value}`)
    controller[key] = value === 'on'
  }
}

/** Implements `storageattach MACHINE --storagectl NAME --port N --device N --type KIND --medium MEDIUM`. */
export async function attachStorage(call: Call): Promise<Answer> {
  const machine = await machineFor(call, 300)
  const given: Record<string, string> = {}
  const allowed = ['--storagectl', '--port', '--device', '--type', '--medium', '--mtype', '--setuuid']
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (!allowed.includes(word)) throw unknown(`storageattach ${word}`)
    given[word] = call.words.value() ?? ''
  }
  const name = given['--storagectl'] ?? ''
  const controller = machine.hardware.controllers.find((each) => each.name === name)
  if (controller === undefined) throw new Refusal(errorLine(`Could not find a controller named '${name}'`))
  if (call.store.session(machine.uuid) !== undefined) throw unknown('storageattach on a running machine')
  lockForWrite(call, machine, 305, file)
  const port = Number(given['--port'] ?? Number.NaN)
  const device = Number(given['--device'] ?? 0)
  const medium = given['--medium']
  if (!Number.isInteger(port) || !Number.isInteger(device) || medium === undefined) {
    throw unknown('storageattach without --port or --medium')
  }
  const slot = `${port}-${device}`
  if (medium === 'none') {
    detach(call, machine, controller, port, device)
    call.store.saveMachine(machine)
    return answer()
  }
  const kind = given['--type'] === 'hdd' ? 'hdd' : given['--type'] === 'dvddrive' ? 'dvddrive' : undefined
  if (kind === undefined) throw unknown(`storageattach --type ${given['--type'] ?? 'by default'}`)
  if (medium === 'emptydrive' && kind === 'dvddrive') {
    inRange(controller, port, device)
    attachPlaces(call, machine)
    controller.slots[slot] = { kind, medium: undefined }
  } else {
    const opened = openFor(call, medium, kind)
    changeMedium(call, opened, given)
    inRange(controller, port, device)
    attachPlaces(call, machine, opened, controller.slots[slot]?.medium)
    controller.slots[slot] = { kind, medium: heldBy(call, machine, opened, kind).uuid }
  }
  call.store.saveMachine(machine)
  return answer()
}

function openFor(call: Call, medium: string, kind: 'hdd' | 'dvddrive'): Medium {
  try {
    return openMedium(call, medium, kind === 'hdd' ? 'hdd' : 'dvd')
  } catch (error) {
    if (!(error instanceof Refusal) || error.exit === 70) throw error
    throw new Refusal(error.stderr + errorLine(`Invalid UUID or filename "${medium}"`))
  }
}

function changeMedium(call: Call, medium: Medium, given: Readonly<Record<string, string>>): void {
  if (given['--setuuid'] !== undefined) {
    const message = `Medium '${medium.path}' is not accessible. Accessibility check was not yet performed`
    const place: Place = [
      'SetIds(fSetNewUuid, bstrNewUuid.raw(), fSetNewParentUuid, bstrNewParentUuid.raw())',
      703,
      file,
    ]
    throw new Refusal(
      refusal(message, { code: 'VBOX_E_INVALID_OBJECT_STATE', component: 'MediumWrap' }, place).stderr +
        errorLine('Failed to set the medium/parent medium UUID'),
    )
  }
  const type = given['--mtype']
  const present = medium.multiAttach ? 'multiattach' : medium.writeThrough ? 'writethrough' : 'normal'
  if (type === undefined || type === present) return
  if (type !== 'multiattach' && type !== 'writethrough') throw unknown(`storageattach --mtype ${type}`)
  const users = call.store.usersOf(medium).length
  if (users > 0) {
    const message = `Cannot change the type of medium '${medium.path}' because it is attached to ${users} virtual machines`
    const details = { code: 'VBOX_E_INVALID_OBJECT_STATE', component: 'MediumWrap' } as const
    const place: Place = ['COMSETTER(Type)(enmMediumType)', 718, file]
    throw new Refusal(refusal(message, details, place).stderr + errorLine('Failed to set the medium type'))
  }
  if (call.store.childrenOf(medium).length > 0) throw unknown('another --mtype for a disk with children')
  medium.multiAttach = type === 'multiattach'
  medium.writeThrough = type === 'writethrough'
  call.store.saveRegistry()
}

/** Refuses an attachment that the machine's state, or an already attached disk, forbids. */
function attachPlaces(call: Call, machine: Machine, medium?: Medium, inSlot?: string): void {
  if (medium !== undefined && medium.device === 'hdd') {
    const attached = slotMedia({ ...machine, rootSnapshot: undefined })
    if (attached.includes(medium.uuid) && medium.uuid !== inSlot) {
      throw refusal(`Medium '${medium.path}' is already attached to this virtual machine`, inUse, attachPlace)
    }
  }
  mutable(call, machine, attachPlace, true)
}

const attachPlace: Place = [
  'AttachDevice(Bstr(pszCtl).raw(), port, device, DeviceType_HardDisk, pMedium2Mount)',
  782,
  file,
]

/**
 * Adds ports to a SATA controller up to this port, within its limit. Refuses a slot that the controller cannot have.
 */
function inRange(controller: Controller, port: number, device: number): void {
  const most = controller.bus === 'sata' ? (maxPorts[controller.bus] ?? 0) : controller.portCount
  if (port >= controller.portCount && port < most) controller.portCount = port + 1
  if (port < 0 || port >= controller.portCount || device < 0 || device >= devicesPerPort(controller.bus)) {
    const [ports, devices] = [controller.portCount - 1, devicesPerPort(controller.bus) - 1]
    const message = `The port and/or device parameter are out of range: port=${port} (must be in range [0, ${ports}]), device=${device} (must be in range [0, ${devices}])`
    const details = { code: 'NS_ERROR_INVALID_ARG', component: 'StorageControllerWrap' } as const
    throw refusal(message, details, attachPlace)
  }
}

/** Returns the medium for the slot. A multi-attach medium, or a disk with children, gets a new difference. */
function heldBy(call: Call, machine: Machine, medium: Medium, kind: 'hdd' | 'dvddrive'): Medium {
  if (kind === 'dvddrive') return medium
  if (medium.multiAttach) {
    const uuid = freshUuid()
    return addDifference(call, join(dirname(machine.cfgFile), 'Snapshots', `{${uuid}}.vdi`), uuid, medium)
  }
  if (call.store.childrenOf(medium).length === 0) return medium
  const uuid = freshUuid()
  const path = join(dirname(machine.cfgFile), 'Snapshots', `{${uuid}}.vdi`)
  return addDifference(call, path, uuid, inCurrentSnapshot(call, machine, medium))
}

/**
 * Finds the medium of the current snapshot that descends from a disk with children. The machine's new difference starts
 * from this medium.
 */
function inCurrentSnapshot(call: Call, machine: Machine, medium: Medium): Medium {
  const current = allSnapshots(machine.rootSnapshot).find(({ uuid }) => uuid === machine.currentSnapshot)
  const kept = (current === undefined ? [] : attachedMedia(current.hardware)).flatMap(
    (uuid) => call.store.medium(uuid) ?? [],
  )
  const descends = (each: Medium | undefined): boolean =>
    each !== undefined &&
    (each.uuid === medium.uuid || (each.parent !== undefined && descends(call.store.medium(each.parent))))
  return kept.find(descends) ?? medium
}

function detach(call: Call, machine: Machine, controller: Controller, port: number, device: number): void {
  const slot = `${port}-${device}`
  const place: Place = ['DetachDevice(Bstr(pszCtl).raw(), port, device)', 413, file]
  if (controller.slots[slot] === undefined) {
    throw refusal(
      `No storage device attached to device slot ${device} on port ${port} of controller '${controller.name}'`,
      notFound,
      place,
    )
  }
  mutable(call, machine, place, true)
  delete controller.slots[slot]
}
