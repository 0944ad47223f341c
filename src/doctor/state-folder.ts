import type { Finding } from '../core/provider.js'
import type { HostProbe } from './host-probe.js'

const gibibyte = 1024 ** 3

/**
 * The recommended free space: a Debian image takes about 1 GiB during its build. Two small guests and their closures
 * take another 2 GiB.
 */
const comfortable = 5 * gibibyte
const tooLittle = 1 * gibibyte

export function checkFreeSpace(host: HostProbe, root: string): Finding {
  const id = 'state.space'
  const free = host.freeBytes(root)
  if (free === undefined) {
    return {
      id,
      level: 'problem',
      what: `the free space of ${root} cannot be read`,
      mend: `df -h ${root}`,
    }
  }
  const said = `${(free / gibibyte).toFixed(1)} GiB free for the state folder ${root}`
  if (free >= comfortable) return { id, level: 'ok', what: said }
  return {
    id,
    level: free < tooLittle ? 'problem' : 'note',
    what: `only ${said}; the folder holds images and disks`,
    mend: 'hydra-ops image list   # then: hydra-ops image rm ID; or choose another folder with HYDRA_OPS_STATE=DIR',
  }
}

/** Checks that the folder belongs to this user and is closed to others, because it holds keys. */
export function checkStateFolder(host: HostProbe, root: string): Finding {
  const id = 'state.folder'
  const owner = host.owner(root)
  if (owner === undefined) {
    return host.exists(root)
      ? unusable(host, root)
      : { id, level: 'ok', what: `the state folder ${root} does not exist yet` }
  }
  if (owner.uid !== host.user.uid || !host.usable(root)) return unusable(host, root)
  if ((owner.mode & 0o077) !== 0) {
    return {
      id,
      level: 'problem',
      what: `the state folder ${root} is open to other users (mode 0${owner.mode.toString(8)})`,
      mend: `chmod 0700 '${root}'`,
    }
  }
  return { id, level: 'ok', what: `the state folder ${root} belongs to ${host.user.name} alone` }
}

function unusable(host: HostProbe, root: string): Finding {
  return {
    id: 'state.folder',
    level: 'problem',
    what: `${host.user.name} cannot use the state folder ${root}`,
    mend: `sudo chown -R ${host.user.name}: '${root}' && chmod 0700 '${root}'`,
  }
}
