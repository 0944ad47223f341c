import { requireSuccess } from '../core/command-result.js'
import { hostOf } from './connect.js'
import type { MachineSession } from './machine.js'

/** Makes the root file system as large as its disk; does nothing when it is already. */
export async function growRootFilesystem(session: MachineSession): Promise<void> {
  const what = 'grow the root file system'
  const result = await hostOf(session).script(
    'set -e; dev=$(findmnt -no SOURCE /); [ "$(findmnt -no FSTYPE /)" = ext4 ] || exit 0; resize2fs "$dev"',
    [],
    { signal: session.run.signal, timeoutMs: 120_000, what },
  )
  requireSuccess(result, { machine: session.machine, what })
}
