import { requireSuccess } from '../../core/command-result.js'
import { failure, OpsError } from '../../core/errors.js'
import { pause } from '../../core/pause.js'
import type { CommandResult, Host } from '../../core/ssh.js'
import { journal, type Link, updateJob } from './job.js'
import { bootMs, hostOf, waitAndConnect } from './reach.js'

const pollMs = 1_000

/** Reboots a machine from inside and waits until it is up under another boot id, the only proof there is. */
export async function rebootMachine(link: Link, options: { hard?: boolean } = {}): Promise<Host> {
  const before = await firstBootId(link)
  journal(link, 'machine.reboot', { data: before })
  link.run.log('rebooting')
  await sendDown(link, options.hard === true)
  const deadline = Date.now() + bootMs
  while (Date.now() < deadline) {
    await pause(pollMs, link.run.signal)
    const now = await bootIdAgain(link, deadline)
    if (now === undefined || now === before) continue
    journal(link, 'machine.reboot', { result: 'done', data: now })
    updateJob(link, (draft) => {
      draft.facts = { ...draft.facts, bootId: now }
    })
    link.changed = true
    return hostOf(link)
  }
  throw failure(
    'REBOOT',
    `machine '${link.machine}' did not come up under a new boot id within ${bootMs / 1000} s`,
    {
      machine: link.machine,
      hint: `hydra-ops console ${link.machine} --log`,
    },
  )
}

/** The connection usually goes away before the command's result does; the boot id decides. */
async function sendDown(link: Link, hard: boolean): Promise<void> {
  const command = hard ? 'systemctl reboot --force --force' : 'systemctl reboot'
  const options = { signal: link.run.signal, timeoutMs: 30_000, what: 'reboot' }
  await unlessDown(hostOf(link).script(command, [], options))
}

async function firstBootId(link: Link): Promise<string> {
  const result = await readBootId(hostOf(link), link.run.signal)
  return requireSuccess(result, { machine: link.machine, what: 'read the boot id' }).stdout.trim()
}

/** Undefined while the machine is going down or not up yet. */
async function bootIdAgain(link: Link, deadline: number): Promise<string | undefined> {
  const host = await unlessDown(waitAndConnect(link, Math.max(1_000, deadline - Date.now())))
  if (host === undefined) return undefined
  const result = await unlessDown(readBootId(host, link.run.signal))
  return result?.kind === 'exited' && result.code === 0 ? result.stdout.trim() : undefined
}

function readBootId(host: Host, signal: AbortSignal): Promise<CommandResult> {
  const options = { signal, timeoutMs: 20_000, what: 'read the boot id' }
  return host.exec(['cat', '/proc/sys/kernel/random/boot_id'], options)
}

/**
 * What a machine that goes down or comes up may do: refuse and drop connections and logins, open no session, leave
 * a command without an answer. Anything else (another host key, no root any more) does not pass by waiting.
 */
const passing = new Set(['UNREACHABLE', 'CONNECTION_LOST', 'DEADLINE', 'CHANNEL'])

async function unlessDown<T>(thing: Promise<T>): Promise<T | undefined> {
  try {
    return await thing
  } catch (error) {
    if (error instanceof OpsError && passing.has(error.code)) return undefined
    throw error
  }
}
