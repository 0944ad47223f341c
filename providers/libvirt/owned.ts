import type { OrphanResource } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { markedName } from '../common/names.js'
import { parseDomainXml } from './domain-facts.js'
import type { LibvirtParts } from './places.js'
import { createVirsh, defaultUri, isConnectionError, virshError } from './virsh.js'

/** Lists every domain with hydra-ops's mark, of any deployment, in this user's libvirt. */
export async function listOwned(parts: LibvirtParts, run: Run): Promise<OrphanResource[]> {
  const virsh = createVirsh(parts.local, defaultUri(parts.uid))
  const call = { what: 'list the domains' }
  let uuids: string[]
  try {
    uuids = (await virsh.must(['list', '--all', '--uuid'], call, run))
      .split('\n')
      .filter((line) => line !== '')
  } catch (error) {
    // A host without libvirt has no domains of hydra-ops.
    if (isConnectionError(error)) return []
    throw error
  }
  const owned: OrphanResource[] = []
  for (const uuid of uuids) {
    const xml = await virsh.attempt(['dumpxml', '--inactive', uuid], call, run)
    if (xml.kind === 'failed') {
      // The domain disappeared during the look.
      if (xml.failure.complaint === 'no-domain') continue
      throw virshError(xml.failure, call)
    }
    const { mark, name } = parseDomainXml(xml.stdout)
    if (mark === undefined) continue
    owned.push({ name: markedName(mark) ?? name, deployment: mark.deployment, machine: mark.machine })
  }
  return owned
}
