import { type IdentityMethod, isOwnImage } from '../../src/core/image.js'
import type { OwnedPlace } from '../../src/core/owned-places.js'

/**
 * Lists the files that hydra-ops's own images write at each boot, from a seed or a credential (see identity.ts).
 * Other images use a credential in the same way. The effect of a seed on other images is unknown.
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
