import { requireSuccess } from '../core/command-result.js'
import { targetScript } from '../remote/target-scripts.js'
import { hostOf } from './connect.js'
import type { MachineSession } from './machine.js'

/** Grows the root file system to the size of its disk; does nothing if it already has this size. */
export async function growRootFilesystem(session: MachineSession): Promise<void> {
  const what = 'grow the root file system'
  const options = { signal: session.run.signal, timeoutMs: 120_000, what }
  const result = await hostOf(session).script(targetScript('grow-root'), [], options)
  requireSuccess(result, { machine: session.machine, what })
}
