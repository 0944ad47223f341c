import type { Finding } from '../core/provider.js'
import type { HostProbe } from './host-probe.js'

/** The oldest supported version of Node, as in `engines` of package.json; a test compares the two. */
export const oldestNode = [20, 11] as const

export function checkNodeVersion(host: HostProbe): Finding {
  const [major = 0, minor = 0] = host.nodeVersion.split('.').map(Number)
  const [oldestMajor, oldestMinor] = oldestNode
  const recent = major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)
  if (recent) return { id: 'node.version', level: 'ok', what: `Node ${host.nodeVersion}` }
  return {
    id: 'node.version',
    level: 'problem',
    what: `Node ${host.nodeVersion} is too old; hydra-ops needs Node ${oldestNode.join('.')} or newer`,
    mend: 'curl -fsSL https://deb.nodesource.com/setup_20.x | sudo bash - && sudo apt-get install -y nodejs',
  }
}
