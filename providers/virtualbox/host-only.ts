import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { usageError } from '../../src/core/errors.js'
import type { Run } from '../../src/core/run.js'
import type { HostOnly } from './config.js'
import type { VirtualBoxParts } from './places.js'
import type { VBoxManage } from './vboxmanage.js'

/** Ranges that VirtualBox allows without a networks.conf. */
const defaultRanges = ['192.168.56.0/21']

export interface AllowedRanges {
  readonly ranges: readonly string[]
  /** Whether the ranges come from /etc/vbox/networks.conf, which replaces the default. */
  readonly fromFile: boolean
}

/** Reads the IPv4 ranges for host-only networks from lines such as `* 10.0.0.0/8 192.168.0.0/16`. */
export function allowedRanges(hostRoot: string): AllowedRanges {
  const file = join(hostRoot, 'etc', 'vbox', 'networks.conf')
  if (!existsSync(file)) return { ranges: defaultRanges, fromFile: false }
  const ranges = readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line) =>
      /^\s*\*/.test(line)
        ? line
            .replace(/^\s*\*/, '')
            .trim()
            .split(/\s+/)
        : [],
    )
    .filter((range) => /^\d+(?:\.\d+){3}\/\d+$/.test(range))
  return { ranges, fromFile: true }
}

/** Tells whether an address lies in a range such as `a.b.c.d/n`. */
export function isWithin(address: string, range: string): boolean {
  const [network = '', bits = ''] = range.split('/')
  const length = Number(bits)
  const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0
  return (numberOf(address) & mask) >>> 0 === (numberOf(network) & mask) >>> 0
}

function numberOf(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
}

/** One adapter in the output of `list hostonlyifs`. */
export interface HostOnlyAdapter {
  readonly name: string
  readonly address: string
  readonly mask: string
}

export function parseAdapters(text: string): HostOnlyAdapter[] {
  return text.split(/\n\s*\n/).flatMap((block) => {
    const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(block)?.[1]
    const name = field('Name')
    return name === undefined
      ? []
      : [{ name, address: field('IPAddress') ?? '', mask: field('NetworkMask') ?? '' }]
  })
}

/**
 * Refuses a host-only network that this host lacks or VirtualBox forbids, before anything is created. VirtualBox
 * only warns about a missing adapter, and refuses an address with a bare `Access denied`.
 */
export async function refuseHostOnly(
  parts: VirtualBoxParts,
  vbox: VBoxManage,
  { machine, config }: { readonly machine: string; readonly config: { readonly hostOnly: HostOnly | null } },
  run: Run,
): Promise<void> {
  const wanted = config.hostOnly
  if (wanted === null) return
  const refuse = (why: string, hint: string) =>
    usageError(`machine '${machine}': deployment.virtualbox.hostOnly: ${why}`, { machine, hint })
  if (wanted.network !== null) {
    throw refuse(
      'VirtualBox has host-only networks on macOS only',
      'name a host-only adapter: hostOnly = { adapter = "vboxnet0"; }',
    )
  }
  refuseRange(parts, wanted, refuse)
  const adapters = parseAdapters(
    await vbox.must(['list', 'hostonlyifs'], { what: 'list the host-only adapters', machine }, run),
  )
  const found = adapters.find(({ name }) => name === wanted.adapter)
  if (found === undefined) {
    const names = adapters.map(({ name }) => name).join(', ') || 'none'
    throw refuse(
      `this host has no host-only adapter '${wanted.adapter}' (available: ${names})`,
      'VBoxManage hostonlyif create',
    )
  }
  const address = wanted.address?.split('/')[0]
  const network = `${found.address}/${prefixOf(found.mask)}`
  if (address === undefined || isWithin(address, network)) return
  throw refuse(
    `${address} is outside of ${network}, the network of ${found.name}`,
    'choose an address in the network of the adapter',
  )
}

function refuseRange(
  { hostRoot }: VirtualBoxParts,
  { address }: HostOnly,
  refuse: (why: string, hint: string) => Error,
): void {
  const { ranges, fromFile } = allowedRanges(hostRoot)
  if (address === null || ranges.some((range) => isWithin(address.split('/')[0] ?? '', range))) return
  const where = fromFile ? '/etc/vbox/networks.conf allows' : 'VirtualBox allows'
  throw refuse(
    `${where} only ${ranges.join(', ') || 'no IPv4 range'}, and ${address} is outside`,
    'choose an allowed address, or add a line `* RANGE` to /etc/vbox/networks.conf',
  )
}

function prefixOf(mask: string): number {
  return [...numberOf(mask).toString(2)].filter((bit) => bit === '1').length
}
