import { existsSync } from 'node:fs'
import { usageError } from '../../src/core/errors.js'
import type { ResourceChange } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { creationItem, forwardItems, type SettingPair, settingChanges } from '../common/changes.js'
import {
  attachmentChanges,
  gib,
  type LostDisk,
  lostDiskItems,
  lostDisks,
  lostIdentity,
  lostRoot,
  sizeItems,
} from '../common/disks.js'
import { moveItem } from '../common/moved.js'
import { madeDisksOf, type NoteFound, withNotedHandle } from '../common/places.js'
import { dataDisks, imageReference, type VirtualBoxHandle } from './config.js'
import { attachedDisks, differsByHand } from './define.js'
import { rootMiB, sizeChanges, sizesOf } from './disks.js'
import { refuseHostOnly } from './host-only.js'
import { hasSavedMemory, isActive, lookAtChains, lookAtOurs, type Seen, type SeenMachine } from './look.js'
import type { MachineFacts } from './machine-facts.js'
import { type MachineSpec, specDigest } from './machine-spec.js'
import type { Medium } from './media.js'
import { moveOf, refuseOtherFiles } from './moved.js'
import { ourRules } from './network.js'
import { type Places, placesOf, readNote, type VirtualBoxParts, type VirtualBoxResource } from './places.js'
import { createVBoxManage } from './vboxmanage.js'
import { reasonToRecreate, refuseFirmware, wantedHandle, wantedSpec } from './wanted.js'

/** Compares the wanted machine with the existing machine, without changing anything. */
export async function planChanges(
  parts: VirtualBoxParts,
  resource: VirtualBoxResource,
  run: Run,
): Promise<ResourceChange[]> {
  const vbox = createVBoxManage(parts)
  refuseFirmware(resource)
  refuseMissingFolders(resource)
  await refuseHostOnly(parts, vbox, resource, run)
  const places = placesOf(resource)
  const seen = await lookAtOurs(vbox, places, resource, run)
  const note = readNote(places, resource)
  const known = withNotedHandle(resource, note)
  const recreate = reasonToRecreate(known)
  if (recreate !== undefined) return [{ action: 'recreate', ...recreate, needs: 'recreate' }]
  const media = seen.kind === 'machine' ? await lookAtChains(vbox, known, seen.facts, run) : []
  const lost = lostOnes(known, seen, note, media)
  if (seen.kind === 'absent' || known.handle === undefined)
    return [creation(resource), ...lostDiskItems(lost)]
  const handle = wantedHandle(places, known)
  if (!existsSync(handle.disk)) return [lostRoot(handle.disk)]
  if (seen.kind === 'inaccessible') {
    const detail = 'its settings are not where VirtualBox looks for them; the machine is registered again'
    return [...lostDiskItems(lost), { action: 'change', detail, needs: 'nothing' }]
  }
  return [...lostDiskItems(lost), ...(await machineItems(parts, { known, handle, seen, media, places }, run))]
}

interface MachineLook {
  readonly known: VirtualBoxResource
  readonly handle: VirtualBoxHandle
  readonly seen: SeenMachine
  readonly media: readonly Medium[]
  readonly places: Places
}

async function machineItems(
  parts: VirtualBoxParts,
  { known, handle, seen, media, places }: MachineLook,
  run: Run,
): Promise<ResourceChange[]> {
  const { facts } = seen
  const spec = wantedSpec(known, handle)
  const move = moveOf(facts, known)
  const active = isActive(facts)
  if (move !== undefined && active) refuseOtherFiles(facts, { ...known, handle })
  const needs = active || hasSavedMemory(facts) ? 'restart' : 'nothing'
  const present = attachedDisks(facts, handle, media, places)
  // The disks of a moved machine have other paths until it is registered at its current place.
  const details = move === undefined ? definitionChanges(seen, spec, present) : []
  const sized = await sizesOf(parts, known, handle, { attached: facts.attached.values(), media }, run)
  const seed = spec.disks.find(({ path }) => path === places.seedDisk)
  return [
    ...details.map((detail): ResourceChange => ({ action: 'change', detail, needs })),
    ...moveItem(move, needs),
    ...forwardItems(ourRules(facts), undefined, spec.forwards),
    ...sizeItems(sizeChanges(known.machine, sized, { hasSnapshots: facts.hasSnapshots, media }), needs),
    ...(seed === undefined || existsSync(seed.path) ? [] : [lostIdentity]),
  ]
}

function refuseMissingFolders({ machine, config }: VirtualBoxResource): void {
  const missing = Object.entries(config.sharedFolders).find(([, { hostPath }]) => !existsSync(hostPath))
  if (missing === undefined) return
  const [name, { hostPath }] = missing
  throw usageError(
    `machine '${machine}': deployment.virtualbox.sharedFolders.${name}: this host has no folder ${hostPath}`,
    { machine, hint: `mkdir -p ${hostPath}` },
  )
}

/** Names wanted data disks that were created earlier and are now missing. */
export function lostOnes(
  known: VirtualBoxResource,
  seen: Seen,
  note: NoteFound<VirtualBoxHandle>,
  media: readonly Medium[],
): LostDisk[] {
  const { handle } = known
  const attached =
    seen.kind === 'machine' && handle !== undefined
      ? new Set(
          [...attachedDisks(seen.facts, handle, media, placesOf(known)).values()].flatMap(
            (path) => path ?? [],
          ),
        )
      : undefined
  const wanted = dataDisks(known.config).map(([name]) => name)
  return lostDisks(handle, { wanted, made: madeDisksOf(note), attached })
}

function creation({ config, image, os }: VirtualBoxResource): ResourceChange {
  const mebibytes = (size: number) => gib(size * 1024 ** 2)
  return creationItem({
    memoryMiB: config.memorySize,
    vcpu: config.vcpu ?? 1,
    size: image === undefined ? `${config.baseImageSize} GiB` : mebibytes(rootMiB(config, image)),
    image: imageReference(config, os),
    disks: dataDisks(config).map(([name, { size }]) => [name, mebibytes(size)]),
  })
}

function definitionChanges(
  { facts, mark }: SeenMachine,
  spec: MachineSpec,
  present: ReadonlyMap<string, string | undefined>,
): string[] {
  const known = [...settingChanges(pairsOf(facts, spec)), ...folderChanges(facts, spec)]
  const wanted = new Map(spec.disks.map(({ path, title }) => [path, title]))
  const had = new Set([...present.values()].flatMap((path) => path ?? []))
  const disks = attachmentChanges(had, wanted)
  const moved = spec.disks.flatMap(({ port, path, title }) =>
    had.has(path) && present.get(`${spec.controller}-${port}-0`) !== path
      ? [`disk ${title} → port ${port}`]
      : [],
  )
  const all = [...known, ...disks, ...moved]
  if (all.length > 0) return all
  return mark.spec !== specDigest(spec) || differsByHand(facts, spec) ? ['other options of the machine'] : []
}

function pairsOf(facts: MachineFacts, spec: MachineSpec): SettingPair[] {
  const nics = ['nat', ...spec.nics.map(({ kind, source }) => `${kind} ${source}`)]
  const present = [...facts.nics].sort(([a], [b]) => a - b).map(([, words]) => words)
  return [
    ['memory', `${facts.memoryMiB}`, `${spec.memoryMiB} MiB`],
    ['vCPU', `${facts.vcpu}`, `${spec.vcpu}`],
    ['firmware', facts.firmware, spec.firmware],
    ['networks', present.join(', ') || 'none', nics.join(', ')],
  ]
}

function folderChanges(facts: MachineFacts, spec: MachineSpec): string[] {
  const wanted = new Map(spec.sharedFolders.map(({ name, hostPath }) => [name, hostPath]))
  const removed = [...facts.sharedFolders.keys()].filter((name) => !wanted.has(name))
  const added = [...wanted].filter(([name, path]) => facts.sharedFolders.get(name) !== path)
  return [
    ...removed.map((name) => `shared folder ${name} removed`),
    ...added.map(([name, path]) => `shared folder ${name}: ${path}`),
  ]
}
