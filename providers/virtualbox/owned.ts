import type { OrphanResource } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { markedName } from '../common/names.js'
import { inaccessibleName, parseList, readMark } from './look.js'
import type { VirtualBoxParts } from './places.js'
import { createVBoxManage, isAbsent } from './vboxmanage.js'

/** Lists every machine with hydra-ops's mark, of any deployment, in this user's VirtualBox. */
export async function listOwned(parts: VirtualBoxParts, run: Run): Promise<OrphanResource[]> {
  const vbox = createVBoxManage(parts)
  let listed: string
  try {
    listed = await vbox.must(['list', 'vms'], { what: 'list the machines' }, run)
  } catch (error) {
    // A host without VirtualBox has no machines of hydra-ops.
    if (isAbsent(error)) return []
    throw error
  }
  const owned: OrphanResource[] = []
  for (const { name, uuid } of parseList(listed)) {
    // VirtualBox cannot read the marks of a machine whose settings are missing.
    if (name === inaccessibleName) continue
    const mark = await readMark(vbox, uuid, run)
    if (mark?.deployment === undefined || mark.machine === undefined) continue
    const { deployment, machine } = mark
    owned.push({ name: markedName({ deployment, machine }) ?? name, deployment, machine })
  }
  return owned
}
