import { constants } from 'node:os'
import pLimit from 'p-limit'
import type { Ops } from '../core/context.js'
import { messageOf, OpsError, throwIfAborted } from '../core/errors.js'
import type { MachineName } from '../core/names.js'
import { settleAll } from '../core/settle.js'
import type { CommandResult } from '../core/ssh.js'
import { loginMs } from '../machine/connect.js'
import { sshTargetOf } from '../machine/resource.js'
import { selectRecordedMachines } from '../network/select-by-tag.js'
import type { Selection } from '../network/selection.js'

/**
 * Deadline of one day for a command; Ctrl-C or the machine usually ends the command. Node's timers are limited to
 * 24.8 days.
 */
const commandMs = 24 * 3_600_000
/** Exit status of ssh for "no connection". */
const noConnection = 255

export interface ForEachRequest {
  readonly deployment: string | undefined
  readonly selection: Selection
  /** Words of the command; sh reads the words joined by spaces, as with ssh. */
  readonly command: readonly string[]
  readonly maxConcurrent: number
  onLine(machine: MachineName, line: string, stream: 'stdout' | 'stderr'): void
}

export interface ForEachResult {
  readonly machine: MachineName
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a shell command as the login user on every selected machine at once. */
export async function sshForEach(ops: Ops, request: ForEachRequest): Promise<ForEachResult[]> {
  const record = await ops.store.resolve(request.deployment)
  const run = { signal: ops.signal, log: () => {} }
  const machines = await selectRecordedMachines(ops, record, request.selection, run)
  const limit = pLimit(request.maxConcurrent)
  const one = async (machine: MachineName): Promise<ForEachResult> => {
    try {
      const target = await sshTargetOf(ops, record, machine, run)
      const how = { signal: ops.signal, timeoutMs: loginMs(target) }
      const { host } = await ops.ssh.connect(target, how)
      try {
        const result = await host.script(request.command.join(' '), [], {
          signal: ops.signal,
          timeoutMs: commandMs,
          what: 'run the command',
          asLoginUser: true,
          onLine: (line, stream) => request.onLine(machine, line, stream),
        })
        return { machine, status: statusOf(result), stdout: result.stdout, stderr: result.stderr }
      } finally {
        host.close()
      }
    } catch (error) {
      throwIfAborted(ops.signal)
      if (!(error instanceof OpsError)) throw error
      request.onLine(machine, messageOf(error), 'stderr')
      return { machine, status: noConnection, stdout: '', stderr: messageOf(error) }
    }
  }
  return settleAll(machines.map((machine) => limit(() => one(machine))))
}

/** Returns the status as a shell reports it: 128 plus the signal's number. */
function statusOf(result: CommandResult): number {
  if (result.kind === 'exited') return result.code
  if (result.kind === 'lost') return noConnection
  const signals: Readonly<Record<string, number>> = constants.signals
  return 128 + (signals[`SIG${result.signal.replace(/^SIG/, '')}`] ?? 0)
}
