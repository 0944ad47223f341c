import * as z from 'zod'
import { failure, type OpsError } from '../../src/core/errors.js'
import type { Forward } from '../common/ports.js'
import { parseXml as parseXmlText } from '../common/xml.js'
import { credentialName, markUri } from './domain-spec.js'
import { parseUserNetdev } from './network.js'

/** Facts that are read back from a domain. */
export interface DomainFacts {
  readonly name: string
  readonly uuid: string
  readonly type: string
  readonly memoryMiB: number
  readonly vcpu: number
  readonly outbound: boolean
  readonly forwards: readonly Forward[]
  /** Interfaces in order: `lan`, `network default`, `bridge br0`. */
  readonly nics: readonly string[]
  /** Files by device name. */
  readonly disks: ReadonlyMap<string, string>
  /** File of the systemd credential with the guest's identity. */
  readonly credential: string | undefined
  /** File of the serial console's log. */
  readonly console: string | undefined
  readonly mark: DomainMark | undefined
}

/** The owner of a domain, and a hash of its definition. */
export interface DomainMark {
  readonly deployment: string
  readonly machine: string
  readonly spec: string
}

const Attributed = z.looseObject({})
const Text = z.union([z.string(), z.looseObject({ '#text': z.string() }).transform((node) => node['#text'])])

const Domain = z.object({
  '@type': z.string(),
  name: Text,
  uuid: Text,
  memory: z.object({ '@unit': z.string().default('KiB'), '#text': z.coerce.number() }),
  vcpu: Text.transform(Number),
  metadata: z.preprocess(nothingWhenEmpty, Attributed.default({})),
  sysinfo: z
    .array(
      z.object({
        entry: z
          .array(z.object({ '@name': z.string().optional(), '@file': z.string().optional() }))
          .default([]),
      }),
    )
    .default([]),
  devices: z.object({
    disk: z
      .array(
        z.object({
          source: z.object({ '@file': z.string() }).optional(),
          target: z.object({ '@dev': z.string() }),
        }),
      )
      .default([]),
    serial: z.array(z.object({ log: z.object({ '@file': z.string() }).optional() })).default([]),
    interface: z
      .array(
        z.object({
          '@type': z.string(),
          source: z
            .object({ '@network': z.string().optional(), '@bridge': z.string().optional() })
            .optional(),
        }),
      )
      .default([]),
  }),
  'qemu:commandline': z
    .object({ 'qemu:arg': z.array(z.object({ '@value': z.string() })).default([]) })
    .optional(),
})

const Mark = z.object({ '@uuid': z.string(), '@machine': z.string(), '@spec': z.string().default('') })

function nothingWhenEmpty(node: unknown): unknown {
  return node === '' ? undefined : node
}

/** Reads libvirt's XML: each element that may occur more than once is a list. */
export function parseXml(text: string): unknown {
  return parseXmlText(text, ['disk', 'interface', 'serial', 'sysinfo', 'entry', 'qemu:arg'])
}

/** Reads the output of `virsh dumpxml`. */
export function parseDomainXml(text: string): DomainFacts {
  const parsed = z.object({ domain: z.unknown() }).safeParse(parseXml(text))
  return domainFacts(parsed.data?.domain)
}

/** Reads a `domain` element. */
export function domainFacts(element: unknown): DomainFacts {
  const parsed = Domain.safeParse(element)
  if (!parsed.success) throw notUnderstood('domain', parsed.error)
  const domain = parsed.data
  const args = (domain['qemu:commandline']?.['qemu:arg'] ?? []).map((arg) => arg['@value'])
  return {
    name: domain.name,
    uuid: domain.uuid,
    type: domain['@type'],
    memoryMiB: Math.round((domain.memory['#text'] * bytesPer(domain.memory['@unit'])) / 1024 ** 2),
    vcpu: domain.vcpu,
    ...parseUserNetdev(args),
    nics: [...lanNics(args), ...domain.devices.interface.map(nicName)],
    disks: new Map(
      domain.devices.disk.flatMap(({ source, target }) =>
        source === undefined ? [] : [[target['@dev'], source['@file']] as const],
      ),
    ),
    credential: domain.sysinfo
      .flatMap(({ entry }) => entry)
      .find((each) => each['@name'] === credentialName)?.['@file'],
    console: domain.devices.serial[0]?.log?.['@file'],
    mark: markOf(domain.metadata),
  }
}

export function notUnderstood(what: string, { message }: z.ZodError): OpsError {
  return failure('LIBVIRT', `cannot parse libvirt's description of a ${what}: ${message}`)
}

function lanNics(args: readonly string[]): string[] {
  return args.filter((value) => /^socket,id=lan\d+,mcast=/.test(value)).map(() => 'lan')
}

function nicName(nic: {
  '@type': string
  source?: { '@network'?: string | undefined; '@bridge'?: string | undefined } | undefined
}): string {
  return `${nic['@type']} ${nic.source?.['@network'] ?? nic.source?.['@bridge'] ?? '?'}`
}

/** Finds the mark under any XML prefix, because only the namespace matters. */
function markOf(metadata: Readonly<Record<string, unknown>>): DomainMark | undefined {
  for (const [name, node] of Object.entries(metadata)) {
    const [, prefix] = /^([^:]+):deployment$/.exec(name) ?? []
    if (prefix === undefined || Attributed.safeParse(node).data?.[`@xmlns:${prefix}`] !== markUri) continue
    const mark = Mark.safeParse(node)
    if (!mark.success) continue
    return { deployment: mark.data['@uuid'], machine: mark.data['@machine'], spec: mark.data['@spec'] }
  }
  return undefined
}

/** Returns the number of bytes in a unit of libvirt; `virsh dumpxml` prints KiB. */
function bytesPer(unit: string): number {
  const units: Readonly<Record<string, number>> = {
    b: 1,
    bytes: 1,
    KiB: 1024,
    MiB: 1024 ** 2,
    GiB: 1024 ** 3,
  }
  return units[unit] ?? 1024
}
