import { type IdentityMethod, isOwnImage } from '../../src/core/image.js'
import type { OwnedPlace } from '../../src/core/owned-places.js'

/**
 * Names the files that an image of ours writes at each boot, with a seed and with a credential (see identity.ts). A
 * foreign image understands a credential in the same way. Nothing is known about a foreign image's seed.
 */
export function writtenPlaces(
  reference: string,
  method: IdentityMethod | null,
  hypervisor: string,
): OwnedPlace[] {
  const writes = isOwnImage(reference) ? method !== 'none' : method === 'fwcfg'
  if (!writes) return []
  return [
    { path: '/etc/hostname', instead: "the machine's name in the network" },
    {
      path: '/etc/ssh/ssh_host_ed25519_key',
      instead: 'a host key of another kind: /etc/ssh/ssh_host_rsa_key',
    },
    {
      path: '/etc/ssh/ssh_host_ed25519_key.pub',
      instead: 'a host key of another kind: /etc/ssh/ssh_host_rsa_key.pub',
    },
    { path: '/etc/ssh/authorized_keys.d/root', instead: "root's own ~/.ssh/authorized_keys" },
    {
      path: '/etc/resolv.conf',
      instead: `the name servers of the operator host: ${hypervisor} asks them for the guest`,
    },
    { path: '/etc/systemd/network/10-hydra-ops-*.network', instead: 'a drop-in beside it' },
  ]
}
