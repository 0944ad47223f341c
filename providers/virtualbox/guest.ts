import type { IdentityMethod } from '../../src/core/image.js'
import { guestOf as guestOfMachine } from '../common/guest.js'
import type { Guest, GuestNic } from '../common/identity.js'
import type { VirtualBoxHandle } from './config.js'
import type { VirtualBoxResource } from './places.js'

/**
 * Chooses how the image receives its identity. VirtualBox has nothing like QEMU's fw_cfg, so hydra-ops's images use
 * a seed.
 */
export function identityMethod(
  { config }: Pick<VirtualBoxResource, 'config'>,
  image: VirtualBoxHandle['image'],
): IdentityMethod {
  return config.baseImageIdentity ?? (image.identity === 'none' ? 'none' : 'nocloud')
}

/** Describes the machine for its first boot. */
export function guestOf(resource: VirtualBoxResource): Guest {
  const { mac } = resource.allocation
  return guestOfMachine(resource, { mac, outbound: true, closedBy: '' }, otherNics(resource))
}

function otherNics({ allocation, config }: VirtualBoxResource): GuestNic[] {
  const { lan, lanMac, hostOnlyMac } = allocation
  const hostOnly = { name: 'host-only', mac: hostOnlyMac, address: config.hostOnly?.address ?? undefined }
  return [
    ...(config.hostOnly === null ? [] : [hostOnly]),
    ...(!config.lan || lan === null ? [] : [{ name: 'lan', mac: lanMac, address: `${lan.address}/24` }]),
  ]
}
