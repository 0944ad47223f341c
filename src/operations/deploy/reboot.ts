import { setTimeout as sleep } from 'node:timers/promises'
import { failure, OpsError, throwIfInterrupted } from '../../core/errors.js'
import type { Host } from '../../core/ssh.js'
import { journal, type Link } from './job.js'
import { bootMs, hostOf, waitAndConnect } from './reach.js'

const pollMs = 1_000

/** Reboots a machine from inside and waits until it is up under another boot id, the only proof there is. */
export async function rebootMachine(link: Link, options: { hard?: boolean } = {}): Promise<Host> {
  const before = await bootIdOf(hostOf(link), link.run.signal)
  journal(link, 'machine.reboot', { data: before })
  link.run.log('rebooting')
  // The connection usually goes away before the command's result does; the boot id decides.
  await hostOf(link)
    .script(options.hard === true ? 'systemctl reboot --force --force' : 'systemctl reboot', [], {
      signal: link.run.signal,
      timeoutMs: 30_000,
      what: 'reboot',
    })
    .catch(ignoreLost)
  const deadline = Date.now() + bootMs
  while (Date.now() < deadline) {
    throwIfInterrupted(link.run.signal)
    await sleep(pollMs, undefined, { signal: link.run.signal })
    const host = await tryConnect(link, deadline)
    if (host === undefined) continue
    const now = await bootIdOf(host, link.run.signal).catch(ignoreLost)
    if (now !== undefined && now !== before) {
      journal(link, 'machine.reboot', { result: 'done', data: now })
      link.changed = true
      return host
    }
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

async function tryConnect(link: Link, deadline: number): Promise<Host | undefined> {
  return waitAndConnect(link, Math.max(1_000, deadline - Date.now())).catch(ignoreLost)
}

async function bootIdOf(host: Host, signal: AbortSignal): Promise<string> {
  const result = await host.exec(['cat', '/proc/sys/kernel/random/boot_id'], {
    signal,
    timeoutMs: 20_000,
    what: 'read the boot id',
  })
  if (result.kind !== 'exited' || result.code !== 0) throw failure('BOOT_ID', 'the boot id could not be read')
  return result.stdout.trim()
}

/** While a machine goes down and comes up, a lost connection is expected; an interruption is not. */
function ignoreLost(error: unknown): undefined {
  if (error instanceof OpsError && error.code === 'INTERRUPTED') throw error
  return undefined
}
