import { dirname, join } from 'node:path'
import { type Answer, answer, progress, unknown } from './answer.js'
import { type Call, findMachine } from './call.js'
import { cloneImage } from './images.js'
import { freshMachine, register } from './machines.js'
import { addDifference, addMedium } from './media.js'
import { allSnapshots, type Hardware, type Machine } from './model.js'
import { freshMac, freshUuid } from './store.js'

/**
 * Implements `clonevm MACHINE --name NAME [--snapshot NAME --options link] [--register] [--basefolder DIR] [--uuid
 * UUID]`.
 */
export async function cloneMachine(call: Call): Promise<Answer> {
  const given: Record<string, string> = {}
  const valued = ['--name', '--snapshot', '--options', '--basefolder', '--uuid', '--mode', '--groups']
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (word === '--register') given[word] = ''
    else if (valued.includes(word)) given[word] = call.words.value() ?? ''
    else if (word.startsWith('-') || given.source !== undefined) throw unknown(`clonevm ${word}`)
    else given.source = word
  }
  const { source: sourceName, '--name': name } = given
  if (sourceName === undefined || name === undefined) throw unknown('clonevm without a machine or --name')
  if ((given['--mode'] ?? 'machine') !== 'machine') throw unknown(`clonevm --mode ${given['--mode']}`)
  const options = (given['--options'] ?? '').split(',').filter((each) => each !== '')
  const other = options.find((each) => each !== 'link' && each !== 'keepallmacs')
  if (other !== undefined) throw unknown(`clonevm --options ${other}`)
  const source = await findMachine(call, sourceName, [
    'FindMachine(Bstr(pszSrcName).raw(), srcMachine.asOutParam())',
    620,
    'VBoxManageMisc.cpp',
  ])
  if (call.store.session(source.uuid) !== undefined) throw unknown('clonevm of a running machine')
  const from = hardwareOf(source, given['--snapshot'])
  const linked = options.includes('link')
  if (linked && given['--snapshot'] === undefined) throw unknown('clonevm --options link without --snapshot')
  const machine = freshMachine(call, {
    name,
    uuid: given['--uuid'] ?? freshUuid(),
    group: given['--groups'] ?? '/',
    osType: from.osType,
    base: given['--basefolder'],
  })
  machine.hardware = structuredClone(from)
  machine.extraData = { ...source.extraData }
  if (!options.includes('keepallmacs')) for (const nic of machine.hardware.nics) nic.mac = freshMac()
  cloneDisks(call, machine, linked)
  call.store.saveMachine(machine)
  if ('--register' in given) register(call, machine)
  return answer(`Machine has been successfully cloned as "${name}"\n`, progress)
}

function hardwareOf(source: Machine, snapshot: string | undefined): Hardware {
  if (snapshot === undefined) return source.hardware
  const all = allSnapshots(source.rootSnapshot)
  const found = all.find(({ uuid, name }) => uuid === snapshot || name === snapshot)
  if (found === undefined) throw unknown('clonevm of a snapshot that is not there')
  return found.hardware
}

/** Gives a clone its own disks: copies, or differences from the snapshot's disks. */
function cloneDisks(call: Call, { name, cfgFile, hardware }: Machine, linked: boolean): void {
  const folder = dirname(cfgFile)
  let count = 0
  for (const slot of hardware.controllers.flatMap(({ slots }) => Object.values(slots))) {
    if (slot.kind !== 'hdd' || slot.medium === undefined) continue
    const source = call.store.medium(slot.medium)
    if (source === undefined) throw unknown(`a machine whose medium ${slot.medium} is not registered`)
    count += 1
    const uuid = freshUuid()
    if (linked) {
      addDifference(call, join(folder, 'Snapshots', `{${uuid}}.vdi`), uuid, source)
    } else {
      const path = join(folder, `${name.replaceAll('/', '_')}-disk${count}.vdi`)
      const target = { path, uuid, format: 'VDI', bytes: source.bytes }
      cloneImage(source, target)
      addMedium(call, { ...target, device: 'hdd' })
    }
    slot.medium = uuid
  }
}
