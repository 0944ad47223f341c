import { requireSuccess } from '../../core/command-result.js'
import type { Link } from './job.js'
import { hostOf } from './reach.js'

/** Makes the root file system as large as its disk; does nothing when it is already. */
export async function growRootFilesystem(link: Link): Promise<void> {
  const what = 'grow the root file system'
  const result = await hostOf(link).script(
    'set -e; dev=$(findmnt -no SOURCE /); [ "$(findmnt -no FSTYPE /)" = ext4 ] || exit 0; resize2fs "$dev"',
    [],
    { signal: link.run.signal, timeoutMs: 120_000, what },
  )
  requireSuccess(result, { machine: link.machine, what })
}
