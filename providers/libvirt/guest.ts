import { guestOf as guestOfMachine } from '../common/guest.js'
import type { Guest, GuestNic } from '../common/identity.js'
import type { LibvirtResource } from './places.js'

/** Describes the machine for its first boot. */
export function guestOf(resource: LibvirtResource): Guest {
  const { allocation, config } = resource
  const way = {
    mac: allocation.mac,
    outbound: config.outbound,
    closedBy: 'deployment.libvirtd.outbound = false',
  }
  return guestOfMachine(resource, way, otherNics(resource))
}

function otherNics({ allocation, config }: LibvirtResource): GuestNic[] {
  const { lan } = allocation
  return config.networks.map((network, index) => ({
    name: `nic${index}`,
    mac: allocation.nics[index] ?? '',
    address: network === 'lan' && lan !== null ? `${lan.address}/24` : undefined,
  }))
}
