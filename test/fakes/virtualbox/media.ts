import { existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import {
  type Answer,
  answer,
  contextLine,
  detailsLine,
  errorLine,
  failedTask,
  type Place,
  progress,
  Refusal,
  refusal,
  told,
  unknown,
} from './answer.js'
import { absolute, type Call } from './call.js'
import { bytesOnDisk, cloneImage, createDifference, createImage, growImage, probeImage } from './images.js'
import type { Medium } from './model.js'
import { freshUuid } from './store.js'
import { misuse } from './usage.js'
import { readVdi } from './vdi.js'

const file = 'VBoxManageDisk.cpp'
const mebibyte = 1024 * 1024
const inUse = { code: 'VBOX_E_OBJECT_IN_USE', component: 'MediumWrap' } as const
const fileError = { code: 'VBOX_E_FILE_ERROR', component: 'MediumWrap' } as const

const openPlace: Place = [
  'OpenMedium(Bstr(pszFilenameOrUuid).raw(), enmDevType, enmAccessMode, fForceNewUuidOnOpen, pMedium.asOutParam())',
  197,
  file,
]

/** Finds a registered medium, or opens its file, which registers the medium. */
export function openMedium(call: Call, pathOrUuid: string, device: Medium['device']): Medium {
  const known = call.store.medium(pathOrUuid, device) ?? call.store.medium(absolute(call, pathOrUuid), device)
  if (known !== undefined) return known
  const path = absolute(call, pathOrUuid)
  if (!existsSync(path)) {
    throw refusal(`Could not find file for the medium '${path}' (VERR_FILE_NOT_FOUND)`, fileError, openPlace)
  }
  const found =
    device === 'hdd'
      ? probeImage(path)
      : { bytes: statSync(path).size, uuid: undefined, format: 'RAW', parent: undefined }
  if (found === undefined) throw unknown(`a file that is not a disk: ${path}`)
  const twin = call.store.registry.media.find(({ uuid }) => uuid === found.uuid)
  if (twin !== undefined) {
    throw refusal(
      `Cannot register the hard disk '${path}' {${twin.uuid}} because a hard disk '${twin.path}' with UUID {${twin.uuid}} already exists`,
      { code: 'NS_ERROR_INVALID_ARG', component: 'VirtualBoxWrap' },
      openPlace,
    )
  }
  const { bytes, format, parent } = found
  if (parent !== undefined && call.store.medium(parent) === undefined) {
    throw unknown(`a difference whose parent {${parent}} is not known`)
  }
  const variant = parent === undefined ? 'dynamic' : 'differencing'
  return addMedium(call, { path, device, format, bytes, parent, variant, uuid: found.uuid ?? freshUuid() })
}

type NewMedium = Pick<Medium, 'path' | 'device' | 'format' | 'bytes' | 'uuid'> &
  Partial<Pick<Medium, 'parent' | 'variant'>>

export function addMedium(call: Call, given: NewMedium): Medium {
  const medium: Medium = {
    ...given,
    parent: given.parent,
    variant: given.variant ?? 'dynamic',
    description: '',
    multiAttach: false,
    writeThrough: false,
  }
  call.store.registry.media.push(medium)
  call.store.saveRegistry()
  return medium
}

/** Creates a differencing image of another medium, and registers the image. */
export function addDifference(call: Call, path: string, uuid: string, parent: Medium): Medium {
  createDifference(path, uuid, parent)
  const variant = 'differencing'
  return addMedium(call, {
    path,
    device: 'hdd',
    format: 'VDI',
    bytes: parent.bytes,
    uuid,
    parent: parent.uuid,
    variant,
  })
}

/** Parses the device of `VERB [disk | dvd] OPTION…`; verbs that end with `hd` are always about disks. */
function deviceOf(call: Call): Medium['device'] {
  if (call.verb.endsWith('hd')) return 'hdd'
  const word = call.words.next()
  if (word === 'disk') return 'hdd'
  if (word === 'dvd') return 'dvd'
  throw unknown(`${call.verb} ${word ?? 'without a kind'}`)
}

/** Implements `createmedium disk` and `createhd`. */
export function createMedium(call: Call): Answer {
  if (deviceOf(call) !== 'hdd') throw unknown('createmedium dvd')
  const given: Record<string, string> = {}
  const allowed = ['--filename', '--size', '--sizebyte', '--format', '--variant', '--diffparent']
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (!allowed.includes(word)) throw unknown(`createmedium ${word}`)
    given[word] = call.words.value() ?? ''
  }
  const { '--filename': name, '--diffparent': parentName } = given
  if (name === undefined) throw misuse(call.recorded, 'createmedium', 'Parameter --filename is required')
  const bytes = Number(given['--sizebyte'] ?? Number(given['--size'] ?? 0) * mebibyte)
  const path = absolute(call, name)
  const format = given['--format'] ?? 'VDI'
  const uuid = freshUuid()
  const variant = given['--variant']?.toLowerCase() ?? 'standard'
  if (!['standard', 'fixed'].includes(variant)) throw unknown(`createmedium --variant ${variant}`)
  if (parentName !== undefined) {
    if (existsSync(path)) throw unknown('createmedium --diffparent over a file')
    addDifference(call, path, uuid, openMedium(call, parentName, 'hdd'))
    return answer(`Medium created. UUID: ${uuid}\n`, progress)
  }
  if (!(bytes > 0)) throw misuse(call.recorded, 'createmedium', 'Parameter --size is required')
  if (existsSync(path))
    throw imageFailure('create', path, format, 'VERR_ALREADY_EXISTS', 630, 'handleCreateMedium')
  try {
    createImage({ path, uuid, format, bytes })
  } catch (error) {
    // The real program also prints this error for a folder in which no file can be created.
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    throw imageFailure('create', path, format, 'VERR_FILE_NOT_FOUND', 630, 'handleCreateMedium')
  }
  addMedium(call, {
    path,
    device: 'hdd',
    format,
    bytes,
    uuid,
    variant: variant === 'fixed' ? 'fixed' : 'dynamic',
  })
  return answer(`Medium created. UUID: ${uuid}\n`, progress)
}

function imageFailure(
  what: 'create' | 'clone',
  path: string,
  format: string,
  why: 'VERR_ALREADY_EXISTS' | 'VERR_FILE_NOT_FOUND',
  line: number,
  handler: string,
): Refusal {
  const causes =
    (what === 'create'
      ? errorLine(`Could not create the medium storage unit '${path}'.`)
      : errorLine(`Could not create the clone medium '${path}'.`)) +
    errorLine(`${format}: cannot create image '${path}' (${why})`) +
    detailsLine({ ...fileError, called: false })
  const place: Place = [`RTEXITCODE ${handler}(HandlerArg*)`, line, file]
  return new Refusal(failedTask('VBOX_E_FILE_ERROR', `Failed to ${what} medium`, causes, place))
}

/** Implements `clonemedium disk FROM TO` and `clonehd FROM TO`. */
export function cloneMedium(call: Call): Answer {
  if (deviceOf(call) !== 'hdd') throw unknown('clonemedium dvd')
  const names: string[] = []
  let format: string | undefined
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (word === '--format') format = call.words.value()
    else if (word === '--variant' && call.words.value()?.toLowerCase() === 'standard') continue
    else if (word.startsWith('-')) throw unknown(`clonemedium ${word}`)
    else names.push(word)
  }
  const [from, to] = names
  if (from === undefined || to === undefined || names.length > 2) throw unknown('these words of clonemedium')
  const source = openMedium(call, from, 'hdd')
  const path = absolute(call, to)
  const target = {
    path,
    uuid: freshUuid(),
    format: format ?? source.format,
    bytes: source.bytes,
    fixed: false,
  }
  if (call.store.medium(to) !== undefined && !existsSync(path)) throw unknown('clonemedium to a known medium')
  if (existsSync(path))
    throw imageFailure('clone', path, target.format, 'VERR_ALREADY_EXISTS', 1208, 'handleCloneMedium')
  cloneImage(source, target)
  addMedium(call, { path, device: 'hdd', format: target.format, bytes: source.bytes, uuid: target.uuid })
  return answer(`Clone medium created in format '${target.format}'. UUID: ${target.uuid}\n`, progress)
}

/**
 * Implements `modifymedium disk X --resize MB | --resizebyte N | --compact | --move PATH | --description TEXT`, and
 * `modifyhd`.
 */
export function modifyMedium(call: Call): Answer {
  const device = deviceOf(call)
  const name = call.words.next()
  if (name === undefined) throw unknown('modifymedium without a medium')
  const medium = openMedium(call, name, device)
  let said = answer()
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (word === '--resize' || word === '--resizebyte') {
      const asked = Number(call.words.value())
      if (!Number.isInteger(asked)) throw unknown(`modifymedium ${word}`)
      resize(call, medium, word === '--resize' ? asked * mebibyte : asked)
      said = answer('', progress)
    } else if (word === '--compact') {
      said = answer('', progress)
    } else if (word === '--move') {
      moveMedium(call, medium, call.words.value() ?? '')
      said = answer(`Move medium with UUID ${medium.uuid} finished\n`, progress)
    } else if (word === '--description') {
      medium.description = call.words.value() ?? ''
      said = answer('Medium description has been changed.\n')
    } else throw unknown(`modifymedium ${word}`)
  }
  call.store.saveRegistry()
  return said
}

function resize(call: Call, medium: Medium, bytes: number): void {
  if (call.store.usersOf(medium).some(({ uuid }) => call.store.session(uuid) !== undefined)) {
    throw unknown('modifymedium --resize of a disk of a running machine')
  }
  if (call.store.childrenOf(medium).length > 0)
    throw unknown('modifymedium --resize of a medium with children')
  if (bytes < medium.bytes) {
    const causes = told(`Shrinking is not yet supported for medium '${medium.path}'`, {
      code: 'VBOX_E_NOT_SUPPORTED',
      component: 'MediumWrap',
      called: false,
    })
    const place: Place = ['RTEXITCODE handleModifyMedium(HandlerArg*)', 937, file]
    throw new Refusal(failedTask('VBOX_E_NOT_SUPPORTED', 'Failed to resize medium', causes, place))
  }
  if (bytes > medium.bytes && growImage(medium, bytes)) medium.bytes = bytes
}

function moveMedium(call: Call, medium: Medium, to: string): void {
  const path = absolute(call, to)
  if (existsSync(path)) throw unknown('modifymedium --move to a file that exists')
  mkdirSync(dirname(path), { recursive: true })
  renameSync(medium.path, path)
  medium.path = path
}

/** Implements `showmediuminfo disk X`. */
export function showMedium(call: Call): Answer {
  const device = deviceOf(call)
  const name = call.words.next()
  if (name === undefined || call.words.more) throw unknown('these words of showmediuminfo')
  return answer(mediumText(call, openMedium(call, name, device), true))
}

/** Describes a medium in the format of `list hdds` and `showmediuminfo`. */
export function mediumText(call: Call, medium: Medium, long: boolean): string {
  const { uuid, parent, device, path, format, variant, description } = medium
  const there = isSame(medium)
  const users = call.store.usersOf(medium)
  const line = (key: string, value: string): string => `${`${key}:`.padEnd(16)}${value}\n`
  const kind = `${medium.multiAttach ? 'multiattach' : 'normal'} (${parent === undefined ? 'base' : 'differencing'})`
  const disk = device === 'hdd'
  const property =
    format === 'VDI'
      ? line('Property', 'AllocationBlockSize=1048576')
      : `${line('Property', 'BootSector=')}${['Partitions=', 'RawDrive=', 'Relative='].map((each) => `${' '.repeat(16)}${each}\n`).join('')}`
  return [
    line('UUID', uuid),
    disk ? line('Parent UUID', parent ?? 'base') : '',
    line('State', there ? (inRunning(call, medium) ? 'locked write' : 'created') : 'inaccessible'),
    long && description !== '' ? line('Description', description) : '',
    line('Type', !disk ? 'readonly' : medium.writeThrough ? 'writethrough' : kind),
    line('Location', path),
    line('Storage format', format),
    long && disk ? line('Format variant', `${variant} default`) : '',
    line('Capacity', `${Math.floor((there ? medium.bytes : 0) / mebibyte)} MBytes`),
    long ? line('Size on disk', `${Math.floor(bytesOnDisk(medium) / mebibyte)} MBytes`) : '',
    line('Encryption', 'disabled'),
    long && disk ? property : '',
    long && users.length > 0
      ? users
          .map((each, index) =>
            index === 0
              ? line('In use by VMs', `${each.name} (UUID: ${each.uuid})`)
              : `${' '.repeat(16)}${each.name} (UUID: ${each.uuid})\n`,
          )
          .join('')
      : '',
  ].join('')
}

/** Tells whether the file exists and is the registered medium. */
function isSame({ path, uuid, format, parent, device }: Medium): boolean {
  if (!existsSync(path)) return false
  return device === 'dvd' || format !== 'VDI' || parent !== undefined || readVdi(path)?.uuid === uuid
}

function inRunning(call: Call, medium: Medium): boolean {
  return call.store.usersOf(medium).some(({ uuid }) => call.store.session(uuid) !== undefined)
}

/** Implements `closemedium disk X [--delete]`. */
export function closeMedium(call: Call): Answer {
  const device = deviceOf(call)
  let name: string | undefined
  let remove = false
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (word === '--delete') remove = true
    else if (word.startsWith('-') || name !== undefined) throw unknown(`closemedium ${word}`)
    else name = word
  }
  if (name === undefined) throw unknown('closemedium without a medium')
  const medium = openMedium(call, name, device)
  refuseWhereUsed(call, medium, remove)
  if (remove && !existsSync(medium.path))
    throw unknown('closemedium --delete of a known medium without a file')
  if (remove) rmSync(medium.path)
  call.store.registry.media = call.store.registry.media.filter((each) => each !== medium)
  call.store.saveRegistry()
  return answer('', remove ? progress : '')
}

function refuseWhereUsed(call: Call, medium: Medium, remove: boolean): void {
  const users = call.store.usersOf(medium).map(({ uuid }) => uuid)
  const children = call.store.childrenOf(medium).length
  if (users.length === 0 && children === 0) return
  if (inRunning(call, medium)) throw lockedMedium(medium, remove)
  const hasChildren = `Cannot close medium '${medium.path}' because it has ${children} child media`
  const isAttached = `Medium '${medium.path}' cannot be closed because it is still attached to ${users.length} virtual machines`
  const close = told(users.length === 0 ? hasChildren : isAttached, inUse, ['Close()', 1877, file])
  if (!remove) throw new Refusal(close)
  const kept =
    users.length === 0
      ? hasChildren
      : `Cannot delete storage: medium '${medium.path}' is still attached to the following ${users.length} virtual machine(s): ${users.join(', ')}`
  throw new Refusal(
    told(kept, inUse, ['DeleteStorage(pProgress.asOutParam())', 1868, file]) +
      errorLine('Failed to delete medium. Error code VBOX_E_OBJECT_IN_USE') +
      close,
  )
}

function lockedMedium(medium: Medium, remove: boolean): Refusal {
  const message = `Medium '${medium.path}' is locked for writing by another task`
  const details = { code: 'VBOX_E_INVALID_OBJECT_STATE', component: 'MediumWrap' } as const
  const close = told(message, details, ['Close()', 1877, file])
  if (!remove) return new Refusal(close)
  const kept = told(message, details, ['DeleteStorage(pProgress.asOutParam())', 1868, file])
  return new Refusal(kept + errorLine(`Failed to delete medium. Error code ${details.code}`) + close)
}

/** Implements `mediumproperty disk get FILE AllocationBlockSize`; VDI has no other property. */
export function mediumProperty(call: Call): Answer {
  const device = deviceOf(call)
  const [verb, name, key] = call.words.rest()
  if (name === undefined || key === undefined) throw unknown('these words of mediumproperty')
  openMedium(call, name, device)
  if (verb === 'set') {
    throw new Refusal(
      errorLine('Code NS_ERROR_ABORT (0x80004004) - Operation aborted (extended info not available)') +
        contextLine(['SetProperty(Bstr(pszProperty).raw(), Bstr(pszValue).raw())', 1958, file]),
    )
  }
  if (verb !== 'get') throw unknown(`mediumproperty ${verb}`)
  if (key === 'AllocationBlockSize') return answer('AllocationBlockSize=1048576\n')
  throw refusal(
    `Property '${key}' does not exist`,
    { code: 'VBOX_E_OBJECT_NOT_FOUND', component: 'MediumWrap' },
    ['GetProperty(Bstr(pszProperty).raw(), strVal.asOutParam())', 1971, file],
  )
}
