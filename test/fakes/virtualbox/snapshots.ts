import { rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Answer, answer, type Place, progress, Refusal, refusal, unknown } from './answer.js'
import { type Call, findMachine, stateName, stateOf } from './call.js'
import { changeParent, mergeIntoParent } from './images.js'
import { addDifference } from './media.js'
import { allSnapshots, type Hardware, type Machine, type Medium, type Snapshot } from './model.js'
import { stateFileFor } from './power.js'
import { snapshotLines } from './show.js'
import { freshUuid, slotMedia } from './store.js'

const file = 'VBoxManageSnapshot.cpp'

/** Implements `snapshot MACHINE take|list|restore|restorecurrent|delete …`. */
export async function snapshot(call: Call): Promise<Answer> {
  const name = call.words.next()
  const verb = call.words.next()
  if (name === undefined || verb === undefined) throw unknown('snapshot without a machine or a verb')
  const machine = await findMachine(call, name, [
    'FindMachine(bstrMachine.raw(), pMachine.asOutParam())',
    344,
    file,
  ])
  switch (verb) {
    case 'take':
      return await take(call, machine)
    case 'list':
      return listSnapshots(call, machine)
    case 'restore':
      return restore(call, machine, findSnapshot(call, machine))
    case 'restorecurrent': {
      const current = allSnapshots(machine.rootSnapshot).find(({ uuid }) => uuid === machine.currentSnapshot)
      if (current === undefined) throw unknown('snapshot restorecurrent without a snapshot')
      return restore(call, machine, current)
    }
    case 'delete':
      return await deleteSnapshot(call, machine, findSnapshot(call, machine))
    default:
      throw unknown(`snapshot ${verb}`)
  }
}

function findSnapshot(call: Call, machine: Machine): Snapshot {
  const name = call.words.next()
  if (name === undefined || call.words.more) throw unknown('these words of snapshot')
  const all = allSnapshots(machine.rootSnapshot)
  const found = all.find(({ uuid }) => uuid === name.toLowerCase()) ?? all.find((each) => each.name === name)
  if (found !== undefined) return found
  throw refusal(
    `Could not find a snapshot named '${name}'`,
    { code: 'VBOX_E_OBJECT_NOT_FOUND', component: 'SessionMachine' },
    ['FindSnapshot(Bstr(a->argv[2]).raw(), pSnapshot.asOutParam())', 537, file],
  )
}

async function take(call: Call, machine: Machine): Promise<Answer> {
  const name = call.words.next()
  let description = ''
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (word === '--description') description = call.words.value() ?? ''
    else if (word !== '--live') throw unknown(`snapshot take ${word}`)
  }
  if (name === undefined) throw unknown('snapshot take without a name')
  const online = call.store.session(machine.uuid)?.state
  if (online !== undefined && online !== 'running' && online !== 'paused') {
    throw unknown(`snapshot take in the state ${online}`)
  }
  const folder = call.store.sessionFolder(machine.uuid)
  const kept = structuredClone(machine.hardware)
  if (online === 'running') await call.engine.pause(folder)
  const switched = onDifferences(call, machine)
  let { stateFile } = machine
  if (online !== undefined) {
    for (const [slot, medium] of switched) await call.engine.switchDisk(folder, slot, medium)
    stateFile = stateFileFor(machine)
    await call.engine.saveMemory(folder, stateFile)
  }
  const fresh = {
    uuid: freshUuid(),
    name,
    description,
    taken: Date.now(),
    hardware: kept,
    stateFile,
    children: [],
  }
  const parent = allSnapshots(machine.rootSnapshot).find(({ uuid }) => uuid === machine.currentSnapshot)
  if (parent === undefined) machine.rootSnapshot = fresh
  else parent.children.push(fresh)
  machine.currentSnapshot = fresh.uuid
  call.store.saveMachine(machine)
  if (online === 'running') await call.engine.resume(folder)
  return answer(`Snapshot taken. UUID: ${fresh.uuid}\n`, progress)
}

/** Replaces each disk with a difference, so that the former disks no longer change. */
function onDifferences(call: Call, machine: Machine): [slot: string, medium: Medium][] {
  const folder = join(dirname(machine.cfgFile), 'Snapshots')
  return machine.hardware.controllers.flatMap(({ name, slots }) =>
    Object.entries(slots).flatMap(([place, slot]): [string, Medium][] => {
      if (slot.kind !== 'hdd' || slot.medium === undefined) return []
      const parent = call.store.medium(slot.medium)
      if (parent === undefined) throw unknown(`a machine whose medium ${slot.medium} is not registered`)
      if (parent.writeThrough) return []
      const uuid = freshUuid()
      const difference = addDifference(call, join(folder, `{${uuid}}.vdi`), uuid, parent)
      slot.medium = uuid
      return [[`${name}-${place}`, difference]]
    }),
  )
}

function listSnapshots(call: Call, machine: Machine): Answer {
  const option = call.words.next()
  if (option !== undefined && option !== '--machinereadable') throw unknown(`snapshot list ${option}`)
  const { rootSnapshot: root } = machine
  if (root === undefined) return answer('This machine does not have any snapshots\n', '', 1)
  if (option !== undefined) return answer(snapshotLines(machine).join(''))
  const lines = (each: Snapshot, indent: string): string[] => [
    `${indent}Name: ${each.name} (UUID: ${each.uuid})${each.uuid === machine.currentSnapshot ? ' *' : ''}\n`,
    ...(each.description === '' ? [] : [`${indent}Description: ${each.description}\n`]),
    ...each.children.flatMap((child) => lines(child, `${indent}   `)),
  ]
  return answer(lines(root, '   ').join(''))
}

function restore(call: Call, machine: Machine, wanted: Snapshot): Answer {
  const told = `Restoring snapshot '${wanted.name}' (${wanted.uuid})\n`
  const state = stateOf(call, machine)
  if (call.store.session(machine.uuid) !== undefined) {
    const place: Place = ['RestoreSnapshot(pSnapshot, pProgress.asOutParam())', 560, file]
    const message = `Cannot delete the current state of the running machine (machine state: ${stateName(state)})`
    const details = { code: 'VBOX_E_INVALID_VM_STATE', component: 'SessionMachine' } as const
    throw new Refusal(refusal(message, details, place).stderr, 1, told)
  }
  const inSnapshots = new Set(allSnapshots(machine.rootSnapshot).flatMap(({ hardware }) => hddsOf(hardware)))
  const dropped = hddsOf(machine.hardware).filter((uuid) => !inSnapshots.has(uuid))
  const { description, osType } = machine.hardware
  const before = machine.stateFile
  machine.hardware = { ...structuredClone(wanted.hardware), description, osType }
  for (const uuid of dropped) removeMedium(call, call.store.medium(uuid))
  onDifferences(call, machine)
  machine.currentSnapshot = wanted.uuid
  machine.stateFile = wanted.stateFile
  machine.state = wanted.stateFile === undefined ? 'poweroff' : 'saved'
  machine.stateChange = Date.now()
  dropStateFile(machine, before)
  call.store.saveMachine(machine)
  return answer(told, progress)
}

function hddsOf({ controllers }: Hardware): string[] {
  return controllers.flatMap(({ slots }) =>
    Object.values(slots).flatMap(({ kind, medium }) =>
      kind === 'hdd' && medium !== undefined ? [medium] : [],
    ),
  )
}

function removeMedium(call: Call, medium: Medium | undefined): void {
  if (medium?.parent === undefined) return
  rmSync(medium.path, { force: true })
  const { registry } = call.store
  registry.media = registry.media.filter((each) => each !== medium)
  call.store.saveRegistry()
}

function dropStateFile(machine: Machine, stateFile: string | undefined): void {
  if (stateFile === undefined || stateFile === machine.stateFile) return
  const kept = allSnapshots(machine.rootSnapshot).some((each) => each.stateFile === stateFile)
  if (!kept) rmSync(stateFile, { force: true })
}

async function deleteSnapshot(call: Call, machine: Machine, gone: Snapshot): Promise<Answer> {
  const told = `Deleting snapshot '${gone.name}' (${gone.uuid})\n`
  const isCurrent = gone.uuid === machine.currentSnapshot
  const count = gone.children.length
  const why =
    count > 1
      ? `because it has ${count} child snapshots, which is more than the one snapshot allowed for deletion`
      : count === 1 && isCurrent
        ? 'because it is the current snapshot and has one child snapshot'
        : undefined
  if (why !== undefined) {
    const message = `Snapshot '${gone.name}' of the machine '${machine.name}' cannot be deleted, ${why}`
    const details = { code: 'VBOX_E_INVALID_OBJECT_STATE', component: 'SessionMachine' } as const
    const place: Place = ['DeleteSnapshot(bstrSnapGuid.raw(), pProgress.asOutParam())', 554, file]
    throw new Refusal(refusal(message, details, place).stderr, 1, told)
  }
  removeFromTree(machine, gone)
  for (const uuid of hddsOf(gone.hardware)) await mergeMedium(call, machine, uuid)
  dropStateFile(machine, gone.stateFile)
  call.store.saveMachine(machine)
  return answer(told, progress)
}

function removeFromTree(machine: Machine, gone: Snapshot): void {
  const parent = allSnapshots(machine.rootSnapshot).find(({ children }) => children.includes(gone))
  if (machine.currentSnapshot === gone.uuid) machine.currentSnapshot = parent?.uuid
  if (parent === undefined) machine.rootSnapshot = gone.children[0]
  else parent.children = parent.children.flatMap((each) => (each === gone ? gone.children : [each]))
}

/**
 * Merges a disk that no snapshot needs any more. A difference is merged into its child; a base receives the content of
 * its child.
 */
async function mergeMedium(call: Call, machine: Machine, uuid: string): Promise<void> {
  const medium = call.store.medium(uuid)
  if (medium === undefined || slotMedia(machine).includes(uuid)) return
  const [child, other] = call.store.childrenOf(medium)
  if (other !== undefined) throw unknown('snapshot delete of a disk with several children')
  if (child === undefined) {
    removeMedium(call, medium)
    return
  }
  const parent = medium.parent === undefined ? undefined : call.store.medium(medium.parent)
  const folder = call.store.sessionFolder(machine.uuid)
  const slot = openSlot(call, machine, child)
  if (parent !== undefined) {
    if (slot !== undefined) await call.engine.mergeIntoChild(folder, child, parent)
    else changeParent(child, parent)
    replaceMedium(call, child, { ...child, parent: parent.uuid })
    removeMedium(call, medium)
    return
  }
  if (slot !== undefined) await call.engine.mergeIntoParent(folder, slot, child, medium)
  else mergeIntoParent(child)
  for (const grandchild of call.store.childrenOf(child)) {
    if (slot === undefined) changeParent(grandchild, medium, true)
    replaceMedium(call, grandchild, { ...grandchild, parent: medium.uuid })
  }
  renameIn(machine.hardware, child.uuid, uuid)
  for (const { hardware } of allSnapshots(machine.rootSnapshot)) renameIn(hardware, child.uuid, uuid)
  removeMedium(call, child)
}

/** Returns the slot in which an online machine has a medium open, directly or as a parent. */
function openSlot(call: Call, machine: Machine, medium: Medium): string | undefined {
  if (call.store.session(machine.uuid) === undefined) return undefined
  for (const { name, slots } of machine.hardware.controllers) {
    for (const [place, { medium: top }] of Object.entries(slots)) {
      let uuid = top
      while (uuid !== undefined && uuid !== medium.uuid) uuid = call.store.medium(uuid)?.parent
      if (uuid !== undefined) return `${name}-${place}`
    }
  }
  return undefined
}

function replaceMedium(call: Call, before: Medium, after: Medium): void {
  const { registry } = call.store
  registry.media = registry.media.map((each) => (each === before ? after : each))
  call.store.saveRegistry()
}

function renameIn(hardware: Hardware, before: string, after: string): void {
  for (const { slots } of hardware.controllers) {
    for (const slot of Object.values(slots)) if (slot.medium === before) slot.medium = after
  }
}
