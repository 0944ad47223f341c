import { requireSuccess } from '../core/command-result.js'
import { failure, OpsError } from '../core/errors.js'
import { pause } from '../core/pause.js'
import type { CommandResult, Host } from '../core/ssh.js'
import { bootMs, hostOf, waitAndConnect } from './connect.js'
import { journal, type MachineSession, updateJob } from './machine.js'

const pollMs = 1_000

/** Reboots a machine from inside, and waits for a different boot id, the only proof of a reboot. */
export async function rebootMachine(
  session: MachineSession,
  options: { hard?: boolean } = {},
): Promise<Host> {
  const before = await firstBootId(session)
  await journal(session, 'machine.reboot', { data: before })
  session.run.log('rebooting')
  await askForReboot(session, options.hard === true)
  const deadline = Date.now() + bootMs
  while (Date.now() < deadline) {
    await pause(pollMs, session.run.signal)
    const now = await bootIdAgain(session, deadline)
    if (now === undefined || now === before) continue
    await journal(session, 'machine.reboot', { result: 'done', data: now })
    await updateJob(session, (draft) => {
      draft.facts = { ...draft.facts, bootId: now }
    })
    session.changed = true
    return hostOf(session)
  }
  throw failure(
    'REBOOT',
    `machine '${session.machine}' did not come back with a new boot id within ${bootMs / 1000} s`,
    {
      machine: session.machine,
      hint: `hydra-ops console ${session.machine} --log`,
    },
  )
}

/** Sends the command; the connection usually ends before the result arrives, so the boot id decides. */
export async function askForReboot(session: MachineSession, hard = false): Promise<void> {
  const command = hard ? 'systemctl reboot --force --force' : 'systemctl reboot'
  const options = { signal: session.run.signal, timeoutMs: 30_000, what: 'reboot' }
  await unlessDown(hostOf(session).script(command, [], options))
}

async function firstBootId(session: MachineSession): Promise<string> {
  const result = await readBootId(hostOf(session), session.run.signal)
  return requireSuccess(result, { machine: session.machine, what: 'read the boot id' }).stdout.trim()
}

/** Reads the boot id; returns `undefined` while the machine is going down or not up yet. */
async function bootIdAgain(session: MachineSession, deadline: number): Promise<string | undefined> {
  const host = await unlessDown(waitAndConnect(session, Math.max(1_000, deadline - Date.now())))
  if (host === undefined) return undefined
  const result = await unlessDown(readBootId(host, session.run.signal))
  return result?.kind === 'exited' && result.code === 0 ? result.stdout.trim() : undefined
}

function readBootId(host: Host, signal: AbortSignal): Promise<CommandResult> {
  const options = { signal, timeoutMs: 20_000, what: 'read the boot id' }
  return host.exec(['cat', '/proc/sys/kernel/random/boot_id'], options)
}

/**
 * Error codes of a machine that goes down or comes up. Such a machine refuses and drops connections and logins, opens
 * no session, or does not answer a command. A wait does not cure any other error (a different host key, lost root
 * access).
 */
const passing = new Set(['UNREACHABLE', 'CONNECTION_LOST', 'DEADLINE', 'CHANNEL'])

async function unlessDown<T>(thing: Promise<T>): Promise<T | undefined> {
  try {
    return await thing
  } catch (error) {
    if (mayAnswerAgain(error)) return undefined
    throw error
  }
}

/** Returns whether an error may disappear while the caller waits for the machine. */
export function mayAnswerAgain(error: unknown): boolean {
  return error instanceof OpsError && passing.has(error.code)
}
