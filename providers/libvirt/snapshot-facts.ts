import * as z from 'zod'
import type { Snapshot } from '../../src/core/provider.js'
import { type DomainFacts, domainFacts, notUnderstood, parseXml } from './domain-facts.js'

/** Facts that are read back from a snapshot. */
export interface SnapshotFacts extends Snapshot {
  /** The machine's definition at the time of the snapshot. */
  readonly domain: DomainFacts
  /** Devices whose snapshot state is inside their own disk file, such as `vda`. */
  readonly devices: readonly string[]
  /** Whether the memory or a disk's state is in a separate file. Only other programs make such snapshots. */
  readonly external: boolean
}

const Where = z.looseObject({ '@snapshot': z.string().default('no') })

const ParsedSnapshot = z.object({
  domainsnapshot: z.object({
    name: z.string(),
    description: z.string().optional(),
    creationTime: z.coerce.number(),
    memory: Where.optional(),
    disks: z.preprocess(
      (node) => (node === '' ? undefined : node),
      z.object({ disk: z.array(Where.extend({ '@name': z.string() })).default([]) }).optional(),
    ),
    domain: z.unknown(),
  }),
})

/** Parses the output of `virsh snapshot-dumpxml`. */
export function parseSnapshotXml(text: string): SnapshotFacts {
  const parsed = ParsedSnapshot.safeParse(parseXml(text))
  if (!parsed.success) throw notUnderstood('snapshot', parsed.error)
  const { name, description, creationTime, memory, disks, domain } = parsed.data.domainsnapshot
  const parts = disks?.disk ?? []
  const kindOfMemory = memory?.['@snapshot'] ?? 'no'
  return {
    name,
    at: new Date(creationTime * 1000).toISOString(),
    memory: kindOfMemory !== 'no',
    description: description === '' ? undefined : description,
    domain: domainFacts(domain),
    devices: parts.flatMap((disk) => (disk['@snapshot'] === 'internal' ? [disk['@name']] : [])),
    external: [kindOfMemory, ...parts.map((disk) => disk['@snapshot'])].includes('external'),
  }
}
