import type { IdentityMethod } from '../../src/core/image.js'
import type { Guest, GuestNic } from '../common/identity.js'
import { userNetwork } from '../common/user-network.js'
import type { LibvirtResource } from './places.js'

/** Chooses how the image takes its identity: what the option says, else what its record says. */
export function identityMethod(
  resource: LibvirtResource,
  image: { identity: IdentityMethod },
): IdentityMethod {
  return resource.config.baseImageIdentity ?? image.identity
}

/** Describes the machine as its first boot is to find it. */
export function guestOf(resource: LibvirtResource): Guest {
  const { machine, name, identity, config } = resource
  return {
    machine,
    name,
    identity,
    nics: guestNics(resource),
    nameServer: config.outbound ? userNetwork.nameServer : undefined,
    closedBy: 'deployment.libvirtd.outbound = false',
  }
}

function guestNics({ allocation, config }: LibvirtResource): GuestNic[] {
  const { lan } = allocation
  return [
    {
      name: 'management',
      mac: allocation.mac,
      address: userNetwork.guest,
      // Without a way out every attempt to use it fails at once instead of by a deadline.
      ...(config.outbound ? { gateway: userNetwork.gateway } : {}),
    },
    ...config.networks.map((network, index) => ({
      name: `nic${index}`,
      mac: allocation.nics[index] ?? '',
      address: network === 'lan' && lan !== null ? `${lan.address}/24` : undefined,
    })),
  ]
}
