import { existsSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import * as z from 'zod'
import { failure } from '../../src/core/errors.js'
import type { Snapshot } from '../../src/core/provider.js'
import { parseXml } from '../common/xml.js'

/** Facts about a snapshot from the settings file. VBoxManage shows neither a snapshot's time nor its disks. */
export interface SnapshotFacts extends Snapshot {
  readonly uuid: string
  /** UUIDs of the disks at the time of the snapshot. */
  readonly disks: readonly string[]
  /** File with the saved memory, if the machine was running. */
  readonly stateFile: string | undefined
  readonly memoryMiB: number
  readonly vcpu: number
  /** Names of the snapshots that build on this one. */
  readonly children: readonly string[]
  /** Whether the machine's current state builds on this snapshot. */
  readonly isCurrent: boolean
}

const Cpu = z
  .union([z.literal(''), z.looseObject({ '@count': z.coerce.number().optional() })])
  .optional()
  .transform((cpu) => (typeof cpu === 'object' ? cpu['@count'] : undefined))

const Device = z.object({
  '@type': z.string(),
  Image: z.object({ '@uuid': z.string() }).optional(),
})

/** Returns the schema of a list. The parser reads an empty element as an empty string. */
const list = <Item extends z.ZodType>(name: string, item: Item) =>
  z
    .union([z.string(), z.looseObject({ [name]: z.array(item).default([]) })])
    .optional()
    .transform((node): z.output<Item>[] => (typeof node === 'object' ? z.array(item).parse(node[name]) : []))

const Node = z.object({
  '@uuid': z.string(),
  '@name': z.string(),
  '@timeStamp': z.string().refine((text) => !Number.isNaN(Date.parse(text)), 'a time'),
  '@stateFile': z.string().optional(),
  Description: z.string().optional(),
  Hardware: z.looseObject({
    Memory: z.object({ '@RAMSize': z.coerce.number() }).optional(),
    CPU: Cpu,
    StorageControllers: z.unknown().optional(),
  }),
  Platform: z.looseObject({ CPU: Cpu }).optional(),
  Snapshots: z.unknown().optional(),
})
type Node = z.infer<typeof Node>

const Controllers = list('StorageController', z.unknown())
const Devices = list('AttachedDevice', Device)
const Nodes = list('Snapshot', z.unknown())

const Settings = z.object({
  VirtualBox: z.looseObject({
    Machine: z.looseObject({
      '@currentSnapshot': z.string().optional(),
      Snapshot: z.array(z.unknown()).default([]),
    }),
  }),
})

/** Reads the snapshots in a settings file, oldest first. */
export function readSnapshots(file: string): SnapshotFacts[] {
  return existsSync(file) ? parseSnapshots(readFileSync(file, 'utf8'), file) : []
}

export function parseSnapshots(text: string, file: string): SnapshotFacts[] {
  try {
    const { Machine } = Settings.parse(
      parseXml(text, ['Snapshot', 'StorageController', 'AttachedDevice']),
    ).VirtualBox
    const current = uuidOf(Machine['@currentSnapshot'] ?? '')
    const facts = Machine.Snapshot.flatMap((node) => factsOf(node, { current, folder: dirname(file) }))
    return facts.sort((a, b) => a.at.localeCompare(b.at))
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error
    throw failure('VIRTUALBOX', `cannot read the snapshots in ${file}: ${error.message}`)
  }
}

function factsOf(
  element: unknown,
  place: { readonly current: string; readonly folder: string },
): SnapshotFacts[] {
  const node = Node.parse(element)
  const children = Nodes.parse(node.Snapshots).flatMap((each) => factsOf(each, place))
  const direct = Nodes.parse(node.Snapshots).map((each) => Node.parse(each)['@name'])
  const stateFile = node['@stateFile']
  const uuid = uuidOf(node['@uuid'])
  const facts: SnapshotFacts = {
    uuid,
    name: node['@name'],
    at: new Date(node['@timeStamp']).toISOString(),
    memory: stateFile !== undefined,
    description: node.Description === '' ? undefined : node.Description,
    disks: disksOf(node),
    stateFile: stateFile === undefined ? undefined : resolve(place.folder, stateFile),
    memoryMiB: node.Hardware.Memory?.['@RAMSize'] ?? 0,
    vcpu: node.Platform?.CPU ?? node.Hardware.CPU ?? 1,
    children: direct,
    isCurrent: uuid === place.current,
  }
  return [facts, ...children]
}

function disksOf({ Hardware }: Node): string[] {
  return Controllers.parse(Hardware.StorageControllers)
    .flatMap((controller) => Devices.parse(controller))
    .flatMap((device) =>
      device['@type'] === 'HardDisk' && device.Image !== undefined ? [uuidOf(device.Image['@uuid'])] : [],
    )
}

function uuidOf(text: string): string {
  return text.replace(/^\{(.*)\}$/, '$1')
}
