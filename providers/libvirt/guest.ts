import type { IdentityMethod } from '../../src/core/image.js'
import type { Guest, GuestNic } from '../common/identity.js'
import { userNetwork } from '../common/user-network.js'
import type { LibvirtResource } from './places.js'

/** Chooses how the image takes its identity: from the option, or else from the image's record. */
export function identityMethod(
  resource: LibvirtResource,
  image: { identity: IdentityMethod },
): IdentityMethod {
  return resource.config.baseImageIdentity ?? image.identity
}

/** Describes the machine for its first boot. */
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
      // A guest without a gateway fails at once instead of by a deadline when it tries to get out.
      ...(config.outbound ? { gateway: userNetwork.gateway } : {}),
    },
    ...config.networks.map((network, index) => ({
      name: `nic${index}`,
      mac: allocation.nics[index] ?? '',
      address: network === 'lan' && lan !== null ? `${lan.address}/24` : undefined,
    })),
  ]
}
