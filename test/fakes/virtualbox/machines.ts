import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import {
  type Answer,
  answer,
  contextLine,
  detailsLine,
  errorLine,
  type Place,
  progress,
  Refusal,
  refusal,
  unknown,
} from './answer.js'
import { absolute, type Call, findMachine, isLocked } from './call.js'
import { freshController, freshHardware, type Machine } from './model.js'
import { isOsType } from './os-types.js'
import { freshMac, freshUuid, usedMedia } from './store.js'
import { misuse } from './usage.js'

const misc = 'VBoxManageMisc.cpp'

/** Implements `createvm`. */
export function createMachine(call: Call): Answer {
  const given = new Map<string, string>()
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (['--register', '--default'].includes(word)) given.set(word, '')
    else if (
      ['--name', '--ostype', '--os-type', '--basefolder', '--uuid', '--groups'].includes(word) ||
      word === '--platform-architecture'
    ) {
      const value = call.words.value()
      if (value === undefined) throw unknown(`createvm ${word} without a value`)
      given.set(word, value)
    } else throw unknown(`createvm ${word}`)
  }
  const name = given.get('--name')
  if (name === undefined) throw misuse(call.recorded, 'createvm', 'Parameter --name is required')
  if ((given.get('--platform-architecture') ?? 'x86') !== 'x86')
    throw unknown('an architecture other than x86')
  const osType = given.get('--ostype') ?? given.get('--os-type')
  if (osType !== undefined && !isOsType(call.recorded, osType)) {
    throw new Refusal(errorLine('Unknown or invalid guest OS type given.'))
  }
  const uuid = given.get('--uuid')?.toLowerCase() ?? freshUuid()
  const machine = freshMachine(call, {
    name,
    uuid,
    group: given.get('--groups') ?? '/',
    osType: osType ?? 'Other',
    base: given.get('--basefolder'),
  })
  const other = call.store.find(uuid)
  if (other === 'inaccessible') throw unknown('createvm with the UUID of an inaccessible machine')
  if (other !== undefined) {
    const details = { code: 'NS_ERROR_INVALID_ARG', component: 'VirtualBoxWrap' } as const
    const message = `Registered machine with UUID {${uuid}} ('${other.cfgFile}') already exists`
    throw refusal(message, details, ['RegisterMachine(machine)', 450, misc])
  }
  if (given.has('--default')) applyDefaults(machine)
  call.store.saveMachine(machine)
  if (given.has('--register')) register(call, machine)
  const made = given.has('--register') ? 'created and registered' : 'created'
  return answer(`Virtual machine '${name}' is ${made}.\nUUID: ${uuid}\nSettings file: '${machine.cfgFile}'\n`)
}

export interface NewMachine {
  readonly name: string
  readonly uuid: string
  readonly group: string
  readonly osType: string
  readonly base: string | undefined
}

/** Creates a machine without saving it; refuses if its settings file exists. */
export function freshMachine(call: Call, { name, uuid, group, osType, base }: NewMachine): Machine {
  const cfgFile = settingsFile(call, name, group, base)
  if (existsSync(cfgFile)) {
    const place: Place = [
      'CreateMachine(bstrSettingsFile.raw(), bstrName.raw(), platformArch, ComSafeArrayAsInParam(groups), bstrOsTypeId.raw(), createFlags.raw(), bstrCipher.raw(), bstrPasswordId.raw(), Bstr(strPassword).raw(), machine.asOutParam())',
      429,
      misc,
    ]
    const details = { code: 'VBOX_E_FILE_ERROR', component: 'MachineWrap' } as const
    throw refusal(`Machine settings file '${cfgFile}' already exists`, details, place)
  }
  return {
    uuid,
    name,
    group,
    cfgFile,
    state: 'poweroff',
    stateChange: Date.now(),
    stateFile: undefined,
    hardware: freshHardware(osType, freshMac),
    extraData: {},
    rootSnapshot: undefined,
    currentSnapshot: undefined,
    media: [],
  }
}

export function settingsFile(call: Call, name: string, group: string, base: string | undefined): string {
  const top = base === undefined ? join(call.userHome, 'VirtualBox VMs') : absolute(call, base)
  const folder = folderName(name)
  return join(top, group, folder, `${folder}.vbox`)
}

/** Converts a name to a valid folder name, as the real program does. */
function folderName(name: string): string {
  return name
    .replace(/[^ ()\-.0-9A-Za-z_\u00a0-\ud7af]/gu, '_')
    .replace(/^[.-]/, '_')
    .replace(/\.$/, '_')
    .replace(/^ | $/g, '_')
}

/** Gives a machine the hardware that `--default` recommends for Linux. */
function applyDefaults({ hardware }: Machine): void {
  if (!hardware.osType.startsWith('Linux')) throw unknown(`createvm --default for ${hardware.osType}`)
  const values = {
    memory: 512,
    vram: 16,
    graphicscontroller: 'vmsvga',
    audio_out: 'on',
    usb: 'on',
    ehci: 'on',
  }
  Object.assign(hardware.values, values)
  const controllers = [freshController('IDE', 'ide', undefined), freshController('SATA', 'sata', undefined)]
  hardware.controllers = controllers.flatMap((each) => each ?? [])
  const sata = hardware.controllers[1]
  if (sata !== undefined) sata.portCount = 1
}

export function register(call: Call, machine: Machine): void {
  const { store } = call
  store.registry.machines.push({ uuid: machine.uuid, cfgFile: machine.cfgFile })
  const known = new Set(store.registry.media.map(({ uuid }) => uuid))
  store.registry.media.push(...machine.media.filter(({ uuid }) => !known.has(uuid)))
  store.saveRegistry()
}

/** Implements `registervm FILE`. */
export function registerMachine(call: Call): Answer {
  const file = call.words.next()
  if (file === undefined || file.startsWith('-') || call.words.more)
    throw unknown('these words of registervm')
  const cfgFile = absolute(call, file)
  const place: Place = [
    'OpenMachine(Bstr(a->argv[0]).raw(), Bstr(strPassword).raw(), machine.asOutParam()))',
    159,
    misc,
  ]
  const details = { code: 'NS_ERROR_FAILURE', component: 'MachineWrap' } as const
  const machine = call.store.readMachine(cfgFile)
  if (machine === undefined) {
    throw new Refusal(
      errorLine(`Runtime error opening '${cfgFile}' for reading VERR_FILE_NOT_FOUND (File not found.).`) +
        errorLine(
          '/build/reproducible-path/virtualbox-7.2.22-dfsg/src/VBox/Main/src-server/MachineImpl.cpp[706] (nsresult Machine::initFromSettings(VirtualBox*, const com::Utf8Str&, const com::Guid*, const com::Utf8Str&))',
        ) +
        detailsLine(details) +
        contextLine(place),
    )
  }
  if (call.store.find(machine.uuid) !== undefined) {
    const message = `Trying to open a VM config '${cfgFile}' which has the same UUID as an existing virtual machine`
    throw refusal(message, details, place)
  }
  register(call, machine)
  return answer()
}

/** Implements `unregistervm MACHINE [--delete | --delete-all]`. */
export async function unregisterMachine(call: Call): Promise<Answer> {
  let name: string | undefined
  let remove = false
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (word === '--delete' || word === '--delete-all') remove = true
    else if (word.startsWith('-') || name !== undefined) throw unknown(`unregistervm ${word}`)
    else name = word
  }
  if (name === undefined) throw unknown('unregistervm without a machine')
  if (call.store.find(name) === 'inaccessible') {
    if (remove) throw unknown('unregistervm --delete of an inaccessible machine')
    forget(call, name.replace(/[{}]/g, '').toLowerCase())
    return answer()
  }
  const machine = await findMachine(call, name, [
    'FindMachine(Bstr(VMName).raw(), machine.asOutParam())',
    228,
    misc,
  ])
  if (isLocked(call, machine)) {
    const place: Place = [
      'Unregister(fDeleteAll ? CleanupMode_DetachAllReturnHardDisksAndVMRemovable :CleanupMode_DetachAllReturnHardDisksOnly, ComSafeArrayAsOutParam(aMedia))',
      232,
      misc,
    ]
    const details = { code: 'VBOX_E_INVALID_OBJECT_STATE', component: 'MachineWrap' } as const
    throw refusal(`Cannot unregister the machine '${machine.name}' while it is locked`, details, place)
  }
  forget(call, machine.uuid, machine)
  if (!remove) return answer()
  removeFiles(call, machine)
  return answer('', progress)
}

/** Removes a machine from the registry, with the disks that only this machine uses. */
function forget(call: Call, uuid: string, machine?: Machine): void {
  const { registry } = call.store
  const lost = registry.machines.find((each) => each.uuid === uuid)?.cfgFile ?? ''
  registry.machines = registry.machines.filter((each) => each.uuid !== uuid)
  if (machine === undefined) {
    registry.media = registry.media.filter(({ path }) => !path.startsWith(`${dirname(lost)}/`))
  } else {
    const own = ownMedia(call, machine)
    registry.media = registry.media.filter((each) => !own.has(each.uuid))
  }
  call.store.saveRegistry()
}

/**
 * Returns the disks that only this machine uses, including parents without other children. The set therefore includes
 * the base image of the last linked clone, as measured. ISO images are never in the set.
 */
function ownMedia(call: Call, machine: Machine): Set<string> {
  const { media } = call.store.registry
  const others = call.store.machines().filter(({ uuid }) => uuid !== machine.uuid)
  const taken = new Set(others.flatMap((other) => [...usedMedia(other, media)]))
  const used = usedMedia(machine, machine.media)
  const disks = machine.media.filter(({ uuid, device }) => device === 'hdd' && used.has(uuid))
  const strangers = media.filter(({ uuid, parent }) => parent !== undefined && !used.has(uuid))
  for (const { parent } of strangers) if (parent !== undefined) taken.add(parent)
  return new Set(disks.map(({ uuid }) => uuid).filter((uuid) => !taken.has(uuid)))
}

/** Removes a machine's disks in all folders, and its own folder if the folder is then empty. */
function removeFiles(call: Call, machine: Machine): void {
  const own = ownMedia(call, machine)
  for (const { uuid, path } of machine.media) if (own.has(uuid)) rmSync(path, { force: true })
  const folder = dirname(machine.cfgFile)
  rmSync(machine.cfgFile, { force: true })
  for (const name of ['Logs', 'Snapshots']) rmSync(join(folder, name), { recursive: true, force: true })
  if (existsSync(folder) && readdirSync(folder).length === 0) rmSync(folder, { recursive: true })
}

/** Moves a machine's folder to the folder of its new group or name. */
export function moveMachine(call: Call, machine: Machine, base: string): void {
  const before = dirname(machine.cfgFile)
  const cfgFile = settingsFile(call, machine.name, machine.group, base)
  if (cfgFile === machine.cfgFile) return
  throwIfThere(cfgFile)
  mkdirSync(dirname(cfgFile), { recursive: true })
  call.store.move(before, dirname(cfgFile))
  rmSync(join(dirname(cfgFile), basename(machine.cfgFile)), { force: true })
  machine.cfgFile = cfgFile
  const { registry } = call.store
  registry.machines = registry.machines.map((each) =>
    each.uuid === machine.uuid ? { uuid: each.uuid, cfgFile } : each,
  )
  call.store.saveRegistry()
}

function throwIfThere(file: string): void {
  if (existsSync(file)) throw unknown(`moving a machine to ${file}, which exists`)
}
