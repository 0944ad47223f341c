import type { Finding } from '../core/provider.js'
import type { HostProbe } from './host-probe.js'

/** Kernel settings that may keep an ordinary user from creating namespaces, with their bad and good values. */
const switches = [
  { name: 'kernel.unprivileged_userns_clone', bad: '0', good: '1' },
  { name: 'user.max_user_namespaces', bad: '0', good: '15000' },
  // Ubuntu 24.04: https://discourse.ubuntu.com/t/spec-unprivileged-user-namespace-restrictions-via-apparmor
  { name: 'kernel.apparmor_restrict_unprivileged_userns', bad: '1', good: '0' },
] as const

/** Checks user namespaces, which hydra-ops's own Nix store and the builds of Debian images need without root. */
export async function checkUserNamespaces(host: HostProbe): Promise<Finding> {
  const id = 'namespaces.user'
  if (host.user.uid === 0) return { id, level: 'ok', what: 'root needs no user namespaces' }
  const off = switches.filter(({ name, bad }) => host.readFile(sysctlFile(name))?.trim() === bad)
  if (off.length > 0) {
    return {
      id,
      level: 'problem',
      what: `user namespaces are switched off (${off.map(({ name, bad }) => `${name} = ${bad}`).join(', ')}); hydra-ops cannot create its own Nix store or build images`,
      mend: `sudo sysctl -w ${off.map(({ name, good }) => `${name}=${good}`).join(' ')}`,
    }
  }
  const tried = await host.run(['unshare', '--user', '--map-root-user', 'true'])
  if (tried?.kind === 'exited' && tried.code === 0)
    return { id, level: 'ok', what: 'user namespaces can be created' }
  return {
    id,
    level: 'problem',
    what: `user namespaces cannot be created (${tried?.stderr.trim() || 'unshare cannot be run'}); hydra-ops cannot create its own Nix store or build images`,
    mend: `sudo sysctl -w ${switches.map(({ name, good }) => `${name}=${good}`).join(' ')}   # in a container: allow unshare(2)`,
  }
}

/** Checks the range of user ids that mmdebstrap maps; useradd gives a range to every new user. */
export function checkSubordinateIds(host: HostProbe): Finding {
  const id = 'namespaces.subids'
  const { name, uid } = host.user
  if (uid === 0) return { id, level: 'ok', what: 'root needs no subordinate ids' }
  const lacking = ['/etc/subuid', '/etc/subgid'].filter(
    (file) => !hasRange(host.readFile(file) ?? '', name, uid),
  )
  if (lacking.length === 0)
    return { id, level: 'ok', what: `${name} has subordinate user and group ids (/etc/subuid, /etc/subgid)` }
  return {
    id,
    level: 'problem',
    what: `${name} has no range of ids in ${lacking.join(' and ')} and cannot build images`,
    mend: `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${name}`,
  }
}

/** Tells whether a line `name:first:count` grants at least the 65,536 ids that a whole system needs. */
function hasRange(text: string, name: string, uid: number): boolean {
  return text.split('\n').some((line) => {
    const [owner, , count] = line.split(':')
    return (owner === name || owner === String(uid)) && Number(count) >= 65_536
  })
}

function sysctlFile(name: string): string {
  return `/proc/sys/${name.replaceAll('.', '/')}`
}
