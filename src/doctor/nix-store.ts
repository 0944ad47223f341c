import { messageOf } from '../core/errors.js'
import type { Nix } from '../core/nix.js'
import type { Finding } from '../core/provider.js'
import type { HostProbe } from './host-probe.js'

/** Reports the Nix store that every evaluation and build uses. */
export async function checkNixStore(nix: Pick<Nix, 'describeStore'>): Promise<Finding> {
  const id = 'nix.store'
  try {
    const { remote, why } = await nix.describeStore()
    return { id, level: 'ok', what: `Nix store: ${remote} (${why})` }
  } catch (error) {
    return {
      id,
      level: 'problem',
      what: `no Nix store can be used: ${messageOf(error)}`,
      mend: 'unset NIX_REMOTE   # hydra-ops then creates its own store in the state folder',
    }
  }
}

/** Checks access to the daemon's socket, whose folder is 0770 root:nix-users. A running daemon may be out of reach. */
export function checkNixUsers(host: HostProbe): Finding {
  const id = 'nix.users'
  const folder = '/nix/var/nix/daemon-socket'
  const group = /^nix-users:/m.test(host.readFile('/etc/group') ?? '')
  if (!host.exists(folder)) return { id, level: 'ok', what: 'this host has no Nix daemon' }
  if (host.user.uid === 0 || host.groups.has('nix-users') || host.usable(`${folder}/socket`)) {
    return { id, level: 'ok', what: 'this user may use the socket of the Nix daemon' }
  }
  return {
    id,
    level: 'note',
    what: `${host.user.name} may not use the Nix daemon of this host; hydra-ops uses its own store`,
    mend: group
      ? `sudo adduser ${host.user.name} nix-users   # then log in again`
      : `sudo chmod 0755 ${folder}`,
  }
}
