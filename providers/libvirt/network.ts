import type { Run } from '../../src/core/run.js'
import { type Forward, forwardChanges, portTaken } from '../common/ports.js'
import { portOption } from './config.js'
import type { DomainNic, DomainSpec } from './domain-spec.js'
import type { LibvirtResource } from './places.js'
import type { Virsh } from './virsh.js'

/**
 * First PCI slot of hydra-ops's devices: a fixed number that avoids libvirt's slots, which begin at the lowest.
 */
const firstQemuSlot = 0x10
/** Creates an interface that libvirt's XML can express. */
export function nativeNic(nic: Extract<DomainNic, { kind: 'network' | 'bridge' }>): object {
  return {
    '@type': nic.kind,
    mac: { '@address': nic.mac },
    source: nic.kind === 'network' ? { '@network': nic.source } : { '@bridge': nic.source },
    model: { '@type': 'virtio' },
  }
}

/**
 * Returns QEMU's arguments for interfaces that libvirt's XML cannot express: user networking with forwarded
 * ports, and a multicast LAN on the loopback device. (libvirt's own `mcast` drops the local address and joins on
 * the default route.)
 */
export function qemuArguments(spec: DomainSpec): string[] {
  const lans = spec.nics.flatMap((nic) => (nic.kind === 'lan' ? [nic] : []))
  return [
    '-netdev',
    userNetdev(spec),
    '-device',
    nicDevice('management', spec.mac, 0),
    ...lans.flatMap((nic, index) => [
      '-netdev',
      `socket,id=lan${index},mcast=${nic.group}:${nic.port},localaddr=127.0.0.1`,
      '-device',
      nicDevice(`lan${index}`, nic.mac, index + 1),
    ]),
  ]
}

export const managementNetdev = 'management'

function userNetdev({ outbound, forwards }: Pick<DomainSpec, 'outbound' | 'forwards'>): string {
  const restrict = outbound ? '' : ',restrict=on'
  const rules = forwards.map((forward) => `,hostfwd=${forwardRule(forward)}`).join('')
  return `user,id=${managementNetdev},ipv6=off${restrict}${rules}`
}

/** Formats a rule as QEMU's command line and monitor do. */
export function forwardRule({ host, guest }: Forward): string {
  return `tcp:127.0.0.1:${host}-:${guest}`
}

function nicDevice(netdev: string, mac: string, slot: number): string {
  const address = `0x${(firstQemuSlot + slot).toString(16)}`
  return `virtio-net-pci,netdev=${netdev},mac=${mac},addr=${address}`
}

/**
 * Returns the XML with other forwarded ports in each definition. A start uses this XML if no other change may
 * apply.
 */
export function replaceForwards(xml: string, forwards: readonly Forward[]): string {
  const pattern = new RegExp(`(['"])(user,id=${managementNetdev},[^'"]*)\\1`, 'g')
  return xml.replaceAll(pattern, (_, mark: string, old: string) => {
    const { outbound } = parseUserNetdev([old])
    return `${mark}${userNetdev({ outbound, forwards })}${mark}`
  })
}

/** Parses the parts of the user networking's argument that hydra-ops sets. */
export function parseUserNetdev(args: readonly string[]): { outbound: boolean; forwards: Forward[] } {
  const user = args.find((value) => value.startsWith(`user,id=${managementNetdev},`)) ?? ''
  const rules = user.matchAll(/hostfwd=tcp:127\.0\.0\.1:(\d+)-:(\d+)/g)
  return {
    outbound: !user.includes(',restrict=on'),
    forwards: [...rules].map(([, host, guest]) => ({ host: Number(host), guest: Number(guest) })),
  }
}

/**
 * Parses QEMU's current forwarded ports from `info usernet`:
 * `TCP[HOST_FORWARD]  12  127.0.0.1 24231  10.0.2.15  22  0 0`
 */
export function parseUsernet(text: string): Forward[] {
  const lines = text.matchAll(/TCP\[HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)\s+\S+\s+(\d+)/g)
  return [...lines].map(([, host, guest]) => ({ host: Number(host), guest: Number(guest) }))
}

/** Queries QEMU's monitor, because the domain's XML keeps the ports of its start. */
export async function liveForwards(virsh: Virsh, resource: LibvirtResource, run: Run): Promise<Forward[]> {
  return parseUsernet(await monitor(virsh, resource, 'info usernet', run))
}

/** Opens and closes forwarded ports of a running guest. */
export async function applyForwards(
  virsh: Virsh,
  resource: LibvirtResource,
  wanted: readonly Forward[],
  run: Run,
): Promise<void> {
  const { removed, added } = forwardChanges(await liveForwards(virsh, resource, run), wanted)
  for (const { host } of removed) {
    await monitor(virsh, resource, `hostfwd_remove ${managementNetdev} tcp:127.0.0.1:${host}`, run)
  }
  for (const forward of added) {
    // The monitor reports errors only as text, with exit status 0 in every case.
    const answer = await monitor(
      virsh,
      resource,
      `hostfwd_add ${managementNetdev} ${forwardRule(forward)}`,
      run,
    )
    if (/Could not set up/i.test(answer)) throw portTaken(resource.machine, forward.host, portOption)
  }
}

async function monitor(
  virsh: Virsh,
  { name, machine }: LibvirtResource,
  command: string,
  run: Run,
): Promise<string> {
  const call = { what: `forward ports of domain '${name}'`, machine }
  return virsh.must(['qemu-monitor-command', name, '--hmp', command], call, run)
}
